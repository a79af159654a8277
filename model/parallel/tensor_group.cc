#include "model/parallel/tensor_group.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "ops/comm/communicator.h"
#include "ops/kernels/copy_rows.h"

namespace trib::model {
namespace {

constexpr auto kAxis = ops::MeshAxis::tensor;

std::span<float> span_of(float* values, std::int64_t count) {
  return {values, static_cast<std::size_t>(count)};
}
std::span<const float> span_of(const float* values, std::int64_t count) {
  return {values, static_cast<std::size_t>(count)};
}

// Call visit(column, count, offset) for each rank's columns: where they begin in a row, how many
// they are, and where they begin when laid out rank by rank, each as a matrix of its own.
template <class Visit>
void for_each_column_block(std::int64_t rows, const std::vector<std::int64_t>& counts,
                           const Visit& visit) {
  std::int64_t column = 0;
  for (const std::int64_t count : counts) {
    visit(column, count, rows * column);
    column += count;
  }
}

}  // namespace

void TensorGroup::connect(ops::Communicator& communicator) {
  if (communicator.rank(kAxis) != rank_ || communicator.size(kAxis) != size_) {
    throw RuntimeError(fmt::format(
        "the model was made for rank {} of {} on the tensor axis, but this is rank {} of {}", rank_,
        size_, communicator.rank(kAxis), communicator.size(kAxis)));
  }
  communicator_ = &communicator;
}

void TensorGroup::all_reduce(float* values, std::int64_t count) const {
  if (is_alone()) return;
  communicator_->all_reduce_sum(kAxis, span_of(values, count)).wait();
}

void TensorGroup::all_reduce(std::span<double> values) const {
  if (is_alone()) return;
  communicator_->all_reduce_sum(kAxis, values).wait();
}

void TensorGroup::all_gather_rows(FloatPtr all_rd, ConstFloatPtr own_rd, std::int64_t rows,
                                  std::int64_t width) const {
  const auto row_bytes = width * static_cast<std::int64_t>(all_rd.element_bytes());
  auto* const all = all_rd.as<std::byte>();
  const auto* const mine = own_rd.as<std::byte>();
  if (is_alone()) {
    if (mine != all) std::copy_n(mine, rows * row_bytes, all);
    return;
  }
  std::vector<std::int64_t> bytes;
  for (int r = 0; r < size_; ++r) bytes.push_back(part(rows, r).size() * row_bytes);
  communicator_
      ->all_gather(kAxis, {mine, static_cast<std::size_t>(own(rows).size() * row_bytes)},
                   {all, static_cast<std::size_t>(rows * row_bytes)}, bytes)
      .wait();
}

void TensorGroup::reduce_scatter_rows(float* own_rd, const float* all_rd, std::int64_t rows,
                                      std::int64_t width) const {
  if (is_alone()) {
    if (own_rd != all_rd) std::copy_n(all_rd, rows * width, own_rd);
    return;
  }
  std::vector<std::int64_t> counts;
  for (int r = 0; r < size_; ++r) counts.push_back(part(rows, r).size() * width);
  communicator_
      ->reduce_scatter_sum(kAxis, span_of(all_rd, rows * width),
                           span_of(own_rd, own(rows).size() * width), counts)
      .wait();
}

void TensorGroup::all_gather_columns(float* all_rc, const float* own_rc, std::int64_t rows,
                                     const std::vector<std::int64_t>& counts,
                                     float* scratch) const {
  const std::int64_t width = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (is_alone()) {
    std::copy_n(own_rc, rows * width, all_rc);
    return;
  }
  std::vector<std::int64_t> bytes;
  for (const std::int64_t count : counts) {
    bytes.push_back(rows * count * static_cast<std::int64_t>(sizeof(float)));
  }
  communicator_
      ->all_gather(kAxis,
                   std::as_bytes(span_of(own_rc, rows * counts[static_cast<std::size_t>(rank_)])),
                   std::as_writable_bytes(span_of(scratch, rows * width)), bytes)
      .wait();
  for_each_column_block(
      rows, counts, [&](std::int64_t column, std::int64_t count, std::int64_t offset) {
        ops::copy_rows(all_rc + column, width, scratch + offset, count, rows, count);
      });
}

void TensorGroup::reduce_scatter_columns(float* own_rc, const float* all_rc, std::int64_t rows,
                                         const std::vector<std::int64_t>& counts,
                                         float* scratch) const {
  const std::int64_t width = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (is_alone()) {
    std::copy_n(all_rc, rows * width, own_rc);
    return;
  }
  for_each_column_block(
      rows, counts, [&](std::int64_t column, std::int64_t count, std::int64_t offset) {
        ops::copy_rows(scratch + offset, count, all_rc + column, width, rows, count);
      });
  std::vector<std::int64_t> elements;
  for (const std::int64_t count : counts) elements.push_back(rows * count);
  communicator_
      ->reduce_scatter_sum(kAxis, span_of(scratch, rows * width),
                           span_of(own_rc, elements[static_cast<std::size_t>(rank_)]), elements)
      .wait();
}

}  // namespace trib::model
