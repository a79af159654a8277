#include "pipeline/observe/environment.h"

#include <array>
#include <cstdlib>

#include <hwloc.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <unistd.h>

#include "io/library_versions.h"
#include "ops/comm/communicator.h"
#include "ops/kernels/gemm.h"

#ifndef TRIB_VERSION
#error "TRIB_VERSION comes from CMake"
#endif

extern char** environ;

namespace trib::pipeline {
namespace {

using nlohmann::ordered_json;

ordered_json hardware() {
  ordered_json json;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  json["host"] = host.data();
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return json;
  if (hwloc_topology_load(topology) == 0) {
    json["packages"] = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PACKAGE);
    json["numa_nodes"] = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    json["cores"] = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    json["hardware_threads"] = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    if (package != nullptr) {
      const char* model = hwloc_obj_get_info_by_name(package, "CPUModel");
      if (model != nullptr) json["processor"] = model;
    }
    hwloc_bitmap_t binding = hwloc_bitmap_alloc();
    if (hwloc_get_cpubind(topology, binding, HWLOC_CPUBIND_PROCESS) == 0) {
      char* text = nullptr;
      hwloc_bitmap_list_asprintf(&text, binding);
      json["bound_to"] = text;
      std::free(text);
    }
    hwloc_bitmap_free(binding);
    const hwloc_obj_t machine = hwloc_get_root_obj(topology);
    json["memory_bytes"] = machine->total_memory;
  }
  hwloc_topology_destroy(topology);
  return json;
}

ordered_json relevant_variables() {
  constexpr std::array<std::string_view, 7> kPrefixes{
      "OPENBLAS_", "OMP_", "TRIB_", "SLURM_", "GDAL_", "HDF5_USE", "OMPI_COMM_WORLD_"};
  ordered_json json = ordered_json::object();
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    for (const std::string_view prefix : kPrefixes) {
      if (!text.starts_with(prefix)) continue;
      const std::size_t equals = text.find('=');
      json[std::string(text.substr(0, equals))] = text.substr(equals + 1);
    }
  }
  return json;
}

}  // namespace

const char* program_version() {
  return TRIB_VERSION;
}

std::string environment_json(const EnvironmentFacts& facts) {
  ordered_json json;
  json["trib"] = program_version();
  json["compiler"] = "g++ " __VERSION__;
#ifdef NDEBUG
  json["assertions"] = false;
#else
  json["assertions"] = true;
#endif
  json["blas"] = ops::blas_description();
  json["matrix_products"] = ops::gemm_description();
  json["mpi"] = ops::mpi_library_version();
  for (const auto& [name, version] : io::library_versions()) json[name] = version;
  json["ranks"] = facts.ranks;
  json["mesh"] = {
      {"data", facts.mesh.data}, {"shard", facts.mesh.shard}, {"tensor", facts.mesh.tensor}};
  json["compute_threads"] = facts.compute_threads;
  json["io_threads"] = facts.io_threads;
  json["bind"] = facts.bind;
  json["cores_of_ranks"] = facts.cores_of_ranks;
  json["hardware"] = hardware();
  json["variables"] = relevant_variables();
  return json.dump(2) + "\n";
}

}  // namespace trib::pipeline
