#include <algorithm>

#include <fmt/format.h>
#include <hdf5.h>

#include "io/cube/hdf5_handles.h"
#include "io/sample_data/maize_field.h"
#include "io/sample_data/writers.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::string& path)
      : path_(path),
        file_(own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose)) {}

  /// Write a dataset; chunked, shuffled and deflated if `chunks` are given.
  void write(const char* name, hid_t type, const void* values, const std::vector<hsize_t>& extents,
             const std::vector<hsize_t>& chunks = {}) {
    const Hdf5Handle space =
        own(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose);
    const Hdf5Handle creation = own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    check(H5Pset_obj_track_times(creation.id(), false));  // the same bytes on every day
    if (!chunks.empty()) {
      check(H5Pset_chunk(creation.id(), static_cast<int>(chunks.size()), chunks.data()));
      check(H5Pset_shuffle(creation.id()));
      check(H5Pset_deflate(creation.id(), 4));
    }
    const Hdf5Handle dataset =
        own(H5Dcreate2(file_.id(), name, type, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
            H5Dclose);
    check(H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  }

  void attribute(const char* dataset, const char* name, double value) {
    put_attribute(dataset, name, H5T_NATIVE_DOUBLE, &value);
  }
  void attribute(const char* dataset, const char* name, const std::string& text) {
    const Hdf5Handle type = own(H5Tcopy(H5T_C_S1), H5Tclose);
    check(H5Tset_size(type.id(), text.size() + 1));
    put_attribute(dataset, name, type.id(), text.c_str());
  }

  void flush() { check(H5Fflush(file_.id(), H5F_SCOPE_GLOBAL)); }

 private:
  void put_attribute(const char* dataset, const char* name, hid_t type, const void* value) {
    const Hdf5Handle owner = own(H5Dopen2(file_.id(), dataset, H5P_DEFAULT), H5Dclose);
    const Hdf5Handle space = own(H5Screate(H5S_SCALAR), H5Sclose);
    const Hdf5Handle attribute =
        own(H5Acreate2(owner.id(), name, type, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(H5Awrite(attribute.id(), type, value));
  }
  Hdf5Handle own(hid_t id, Hdf5Handle::Close close) const {
    check(id < 0 ? -1 : 0);
    return {id, close};
  }
  void check(herr_t status) const {
    if (status >= 0) return;
    throw RuntimeError(fmt::format("cannot write {}: {}", path_, Hdf5Session::error_text()));
  }

  std::string path_;
  Hdf5Handle file_;
};

void write_field(const std::string& path, const MaizeField& field, int size,
                 const std::vector<double>& wavelengths) {
  const auto side = static_cast<hsize_t>(size);
  const hsize_t bands = wavelengths.size();
  const hsize_t tile = std::min<hsize_t>(side, 32), depth = std::min<hsize_t>(bands, 50);
  const Hdf5Session session;
  Hdf5Writer file(path);
  file.write("reflectance", H5T_NATIVE_INT16, field.reflectance.data(), {side, side, bands},
             {tile, tile, depth});
  file.attribute("reflectance", "scale_factor", 1e-4);
  file.attribute("reflectance", "units", "1");
  file.attribute("reflectance", "long_name", "made-up surface reflectance [y, x, band]");
  file.write("wavelength", H5T_NATIVE_DOUBLE, wavelengths.data(), {bands});
  file.attribute("wavelength", "units", "nm");
  file.write("labels", H5T_NATIVE_UINT8, field.labels.data(), {side, side}, {tile, tile});
  file.attribute("labels", "classes", "0 soil, 1 low nitrogen, 2 medium nitrogen, 3 high nitrogen");
  file.flush();
}

}  // namespace

std::vector<std::string> write_hyperspectral(const std::string& folder,
                                             const SampleDataOptions& options) {
  const RandomStream random(options.seed, "sample data: hyperspectral");
  const std::vector<double> wavelengths = maize_wavelengths(options.bands);
  std::vector<std::string> files;
  for (int i = 0; i < options.fields; ++i) {
    files.push_back(fmt::format("{}/maize_field_{:03}.h5", folder, i));
    write_field(files.back(),
                make_maize_field(random.substream(static_cast<std::uint64_t>(i)),
                                 options.field_size, wavelengths),
                options.field_size, wavelengths);
  }
  return files;
}

}  // namespace trib::io
