#include "ops/comm/communicator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/comm/communication_thread.h"

namespace trib::ops {
namespace {

template <class T>
MPI_Datatype mpi_type() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> ||
                std::is_same_v<T, BFloat16>);
  if (std::is_same_v<T, BFloat16>) return MPI_UINT16_T;  // see mpi_sum
  return std::is_same_v<T, float> ? MPI_FLOAT : MPI_DOUBLE;
}

// What MPI calls to add numbers that it does not know.
void add_bf16(void* addends, void* sums, int* count, MPI_Datatype* /*type*/) {
  const auto* addend = static_cast<const BFloat16*>(addends);
  auto* sum = static_cast<BFloat16*>(sums);
  for (int i = 0; i < *count; ++i) {
    sum[i] = BFloat16(static_cast<float>(sum[i]) + static_cast<float>(addend[i]));
  }
}

/// To be called while MPI runs.
template <class T>
MPI_Op mpi_sum() {
  if (!std::is_same_v<T, BFloat16>) return MPI_SUM;
  static const MPI_Op sum = [] {
    MPI_Op made = MPI_OP_NULL;
    check_mpi(MPI_Op_create(add_bf16, /*commute=*/1, &made), "MPI_Op_create");
    return made;
  }();
  return sum;
}

/// A count as MPI wants it.
int mpi_count(Collective collective, std::size_t count) {
  if (count > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw RuntimeError(fmt::format("{} of {} elements: MPI takes at most {} in a call",
                                   name_of(collective), count, std::numeric_limits<int>::max()));
  }
  return static_cast<int>(count);
}

/// How bytes are handed to MPI, whose counts are of type int: as the largest numbers that divide
/// them.
struct ByteUnit {
  std::size_t bytes;
  MPI_Datatype type;
};

/// For counts of bytes whose bits, put together by `or`, are `bits`. The same on all ranks.
ByteUnit byte_unit(std::size_t bits) {
  constexpr int kLargest = 3;
  const MPI_Datatype types[kLargest + 1] = {MPI_BYTE, MPI_UINT16_T, MPI_UINT32_T, MPI_UINT64_T};
  const int exponent = std::min(std::countr_zero(bits), kLargest);
  return {std::size_t{1} << exponent, types[exponent]};
}

/// `whole` must hold one part for each rank.
void check_parts(Collective collective, std::size_t whole, std::size_t part, int ranks) {
  if (whole != part * static_cast<std::size_t>(ranks)) {
    throw RuntimeError(fmt::format("{} over {} ranks: expected {} x {} elements, found {}",
                                   name_of(collective), ranks, ranks, part, whole));
  }
}

/// The parts of a collective whose ranks have different counts, as MPI wants them.
struct UnevenParts {
  std::vector<int> counts, begins;
  std::int32_t hash = 0;
};

/// Check and convert the counts of the parts of a whole; `part` is that of `rank`. MPI counts them
/// in units of so many.
UnevenParts uneven_parts(Collective collective, std::span<const std::int64_t> counts,
                         std::size_t whole, std::size_t part, const Group& group,
                         std::size_t unit = 1) {
  const auto refuse = [&](const std::string& why) {
    throw RuntimeError(fmt::format("{} over {} ranks, counts [{}]: {}", name_of(collective),
                                   group.size, fmt::join(counts, ", "), why));
  };
  if (counts.size() != static_cast<std::size_t>(group.size)) {
    refuse(fmt::format("expected {} counts, found {}", group.size, counts.size()));
  }
  mpi_count(collective, whole / unit);
  const auto in_units = [unit](std::int64_t count) {
    return static_cast<int>(count / static_cast<std::int64_t>(unit));
  };
  UnevenParts parts;
  std::int64_t sum = 0;
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const std::int64_t count : counts) {
    if (count < 0) refuse("a count is negative");
    parts.counts.push_back(in_units(count));
    parts.begins.push_back(in_units(sum));
    sum += count;
    hash = (hash ^ static_cast<std::uint32_t>(count)) * 16777619u;
  }
  if (sum != static_cast<std::int64_t>(whole)) {
    refuse(fmt::format("they add up to {}, the whole has {}", sum, whole));
  }
  const std::int64_t own = counts[static_cast<std::size_t>(group.rank)];
  if (own != static_cast<std::int64_t>(part)) {
    refuse(fmt::format("rank {} should have {}, it has {}", group.rank, own, part));
  }
  parts.hash = static_cast<std::int32_t>(hash);
  return parts;
}

/// Copy the own part to its place in the whole unless it is there.
void put_in_place(std::span<const std::byte> mine, std::byte* place) {
  if (mine.data() != place) std::copy(mine.begin(), mine.end(), place);
}

Operation make_operation(Collective collective, MeshAxis axis, std::size_t count,
                         std::size_t element_bytes,
                         std::function<int(MPI_Comm, MPI_Request*)> start, int root = 0) {
  Operation operation;
  operation.axis = axis;
  operation.signature.collective = static_cast<std::int32_t>(collective);
  operation.signature.count = static_cast<std::int64_t>(count);
  operation.signature.element_bytes = static_cast<std::int32_t>(element_bytes);
  operation.signature.root = root;
  operation.start = std::move(start);
  return operation;
}

}  // namespace

bool Pending::is_done() const {
  return completion_ == nullptr || completion_->done.load(std::memory_order_acquire);
}

void Pending::wait() const {
  if (completion_ != nullptr) completion_->wait();
}

Communicator::Communicator() : thread_(std::make_unique<CommunicationThread>()) {
  has_mesh_ = thread_->group(MeshAxis::world).size == 1;
}

Communicator::~Communicator() = default;

const Group& Communicator::group(MeshAxis axis) const {
  if (!has_mesh_ && axis != MeshAxis::world) {
    throw RuntimeError(fmt::format("mesh axis {} is not there before split()", name_of(axis)));
  }
  return thread_->group(axis);
}

int Communicator::rank(MeshAxis axis) const {
  return group(axis).rank;
}

int Communicator::size(MeshAxis axis) const {
  return group(axis).size;
}

void Communicator::split(const MeshShape& mesh) {
  check_mesh(mesh, size());
  if (size() > 1) {
    if (has_mesh_) throw RuntimeError("the mesh was already laid out as " + mesh_.to_string());
    thread_->split(mesh);
  }
  mesh_ = mesh;
  has_mesh_ = true;
}

Pending Communicator::submit(Operation operation, std::size_t bytes) {
  const Phase phase = this->phase();
  traffic_.record(operation.collective(), operation.axis, phase, static_cast<std::int64_t>(bytes));
  operation.phase = phase;
  operation.bytes = static_cast<std::int64_t>(bytes);
  auto completion = std::make_shared<Completion>();
  operation.completion = completion;
  thread_->submit(std::move(operation));
  return Pending(std::move(completion));
}

template <class T>
Pending Communicator::all_reduce(MeshAxis axis, std::span<T> values) {
  if (size(axis) == 1) return {};
  const int count = mpi_count(Collective::all_reduce, values.size());
  return submit(make_operation(Collective::all_reduce, axis, values.size(), sizeof(T),
                               [=](MPI_Comm comm, MPI_Request* r) {
                                 return MPI_Iallreduce(MPI_IN_PLACE, values.data(), count,
                                                       mpi_type<T>(), mpi_sum<T>(), comm, r);
                               }),
                values.size_bytes());
}

Pending Communicator::all_reduce_sum(MeshAxis axis, std::span<float> values) {
  return all_reduce(axis, values);
}

Pending Communicator::all_reduce_sum(MeshAxis axis, std::span<double> values) {
  return all_reduce(axis, values);
}

Pending Communicator::all_reduce_sum(MeshAxis axis, std::span<BFloat16> values) {
  return all_reduce(axis, values);
}

template <class T>
Pending Communicator::reduce_scatter(MeshAxis axis, std::span<const T> parts, std::span<T> mine) {
  check_parts(Collective::reduce_scatter, parts.size(), mine.size(), size(axis));
  if (size(axis) == 1) {
    std::copy(parts.begin(), parts.end(), mine.begin());
    return {};
  }
  const int count = mpi_count(Collective::reduce_scatter, mine.size());
  return submit(make_operation(Collective::reduce_scatter, axis, parts.size(), sizeof(T),
                               [=](MPI_Comm comm, MPI_Request* r) {
                                 return MPI_Ireduce_scatter_block(parts.data(), mine.data(), count,
                                                                  mpi_type<T>(), mpi_sum<T>(), comm,
                                                                  r);
                               }),
                parts.size_bytes());
}

Pending Communicator::reduce_scatter_sum(MeshAxis axis, std::span<const float> parts,
                                         std::span<float> mine) {
  return reduce_scatter(axis, parts, mine);
}

Pending Communicator::reduce_scatter_sum(MeshAxis axis, std::span<const BFloat16> parts,
                                         std::span<BFloat16> mine) {
  return reduce_scatter(axis, parts, mine);
}

Pending Communicator::reduce_scatter_sum(MeshAxis axis, std::span<const float> parts,
                                         std::span<float> mine,
                                         std::span<const std::int64_t> counts) {
  UnevenParts layout =
      uneven_parts(Collective::reduce_scatter, counts, parts.size(), mine.size(), group(axis));
  if (size(axis) == 1) {
    std::copy(parts.begin(), parts.end(), mine.begin());
    return {};
  }
  const std::int32_t hash = layout.hash;
  Operation operation =
      make_operation(Collective::reduce_scatter, axis, parts.size(), sizeof(float),
                     [=, layout = std::move(layout)](MPI_Comm comm, MPI_Request* r) {
                       return MPI_Ireduce_scatter(parts.data(), mine.data(), layout.counts.data(),
                                                  MPI_FLOAT, MPI_SUM, comm, r);
                     });
  operation.signature.layout = hash;
  return submit(std::move(operation), parts.size_bytes());
}

Pending Communicator::all_gather(MeshAxis axis, std::span<const std::byte> mine,
                                 std::span<std::byte> all) {
  check_parts(Collective::all_gather, all.size(), mine.size(), size(axis));
  put_in_place(mine, all.data() + mine.size() * static_cast<std::size_t>(rank(axis)));
  if (size(axis) == 1) return {};
  const ByteUnit unit = byte_unit(mine.size());
  const int count = mpi_count(Collective::all_gather, mine.size() / unit.bytes);
  return submit(make_operation(Collective::all_gather, axis, all.size(), 1,
                               [=](MPI_Comm comm, MPI_Request* r) {
                                 return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL,
                                                       all.data(), count, unit.type, comm, r);
                               }),
                mine.size());
}

Pending Communicator::all_gather(MeshAxis axis, std::span<const std::byte> mine,
                                 std::span<std::byte> all, std::span<const std::int64_t> counts) {
  std::size_t bits = 0;
  for (const std::int64_t count : counts) bits |= static_cast<std::size_t>(count);
  const ByteUnit unit = byte_unit(bits);
  UnevenParts layout = uneven_parts(Collective::all_gather, counts, all.size(), mine.size(),
                                    group(axis), unit.bytes);
  const auto begin = static_cast<std::size_t>(layout.begins[static_cast<std::size_t>(rank(axis))]);
  put_in_place(mine, all.data() + begin * unit.bytes);
  if (size(axis) == 1) return {};
  const std::int32_t hash = layout.hash;
  Operation operation = make_operation(
      Collective::all_gather, axis, all.size(), 1,
      [=, layout = std::move(layout)](MPI_Comm comm, MPI_Request* r) {
        return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all.data(), layout.counts.data(),
                               layout.begins.data(), unit.type, comm, r);
      });
  operation.signature.layout = hash;
  return submit(std::move(operation), mine.size());
}

Pending Communicator::broadcast(MeshAxis axis, std::span<std::byte> bytes, int root) {
  if (root < 0 || root >= size(axis)) {
    throw RuntimeError(fmt::format("broadcast on axis {}: root {} is none of its {} ranks",
                                   name_of(axis), root, size(axis)));
  }
  if (size(axis) == 1) return {};
  const ByteUnit unit = byte_unit(bytes.size());
  const int count = mpi_count(Collective::broadcast, bytes.size() / unit.bytes);
  Operation operation = make_operation(
      Collective::broadcast, axis, bytes.size(), 1,
      [=](MPI_Comm comm, MPI_Request* r) {
        return MPI_Ibcast(bytes.data(), count, unit.type, root, comm, r);
      },
      root);
  return submit(std::move(operation), bytes.size());
}

Pending Communicator::barrier(MeshAxis axis) {
  if (size(axis) == 1) return {};
  return submit(make_operation(Collective::barrier, axis, 0, 0,
                               [](MPI_Comm comm, MPI_Request* r) { return MPI_Ibarrier(comm, r); }),
                0);
}

void Communicator::abort(int exit_code) {
  thread_->abort(exit_code);
}

void Communicator::set_timeout(std::chrono::milliseconds timeout) {
  thread_->set_timeout(timeout);
}

void Communicator::set_silence_limit(std::chrono::milliseconds limit) {
  thread_->set_silence_limit(limit);
}

void Communicator::set_check_order(bool check_order) {
  thread_->set_check_order(check_order);
}

void Communicator::set_observer(OperationObserver observer) {
  thread_->set_observer(std::move(observer));
}

std::string mpi_library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  return text.data();
}

}  // namespace trib::ops
