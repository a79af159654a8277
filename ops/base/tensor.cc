#include "ops/base/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "ops/base/clear.h"
#include "ops/base/error.h"

namespace trib {

namespace {

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

int checked_axis(const Tensor& tensor, int axis) {
  const int positive = axis < 0 ? axis + tensor.rank() : axis;
  if (positive < 0 || positive >= tensor.rank()) {
    throw ShapeError(fmt::format("axis {} of a tensor {}", axis, tensor.shape().to_string()));
  }
  return positive;
}

// Copy along `axis` and the axes after it; the innermost contiguous run is one memcpy.
void copy_axis(const std::byte* from, std::byte* to, const Shape& shape, const Shape& from_strides,
               const Shape& to_strides, std::size_t item, int axis) {
  if (axis == shape.rank()) {
    std::memcpy(to, from, item);
    return;
  }
  const std::int64_t extent = shape[axis];
  if (axis == shape.rank() - 1 && from_strides[axis] == 1 && to_strides[axis] == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(extent) * item);
    return;
  }
  const auto step = static_cast<std::int64_t>(item);
  for (std::int64_t i = 0; i < extent; ++i) {
    copy_axis(from + i * from_strides[axis] * step, to + i * to_strides[axis] * step, shape,
              from_strides, to_strides, item, axis + 1);
  }
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, MemoryKind kind) {
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  return on(std::make_shared<Buffer>(bytes, kind), shape, dtype);
}

Tensor Tensor::on(std::shared_ptr<Buffer> buffer, const Shape& shape, DType dtype) {
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  if (buffer->size() != bytes) {
    throw ShapeError(fmt::format("a tensor {} of {} needs {} bytes, its buffer has {}",
                                 shape.to_string(), name_of(dtype), bytes, buffer->size()));
  }
  Tensor t;
  t.shape_ = shape;
  t.strides_ = contiguous_strides(shape);
  t.dtype_ = dtype;
  t.buffer_ = std::move(buffer);
  t.data_ = t.buffer_->data();
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, MemoryKind kind) {
  Tensor t = empty(shape, dtype, kind);
  clear(t.data_, static_cast<std::int64_t>(t.nbytes()));
  return t;
}

Tensor Tensor::view(void* data, const Shape& shape, DType dtype) {
  Tensor t;
  t.data_ = static_cast<std::byte*>(data);
  t.shape_ = shape;
  t.strides_ = contiguous_strides(shape);
  t.dtype_ = dtype;
  return t;
}

bool Tensor::is_contiguous() const {
  std::int64_t stride = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    if (shape_[axis] != 1 && strides_[axis] != stride) return false;
    stride *= shape_[axis];
  }
  return true;
}

void Tensor::check_dtype(DType expected) const {
  if (dtype_ != expected) {
    throw ShapeError(fmt::format("tensor of {} used as {}", name_of(dtype_), name_of(expected)));
  }
}

Tensor Tensor::select(int axis, std::int64_t index) const {
  const int a = checked_axis(*this, axis);
  Tensor narrowed = slice(a, index, index + 1);
  Tensor t = narrowed;
  t.shape_ = {};
  t.strides_ = {};
  for (int i = 0; i < rank(); ++i) {
    if (i == a) continue;
    t.shape_.push_back(shape_[i]);
    t.strides_.push_back(strides_[i]);
  }
  return t;
}

Tensor Tensor::slice(int axis, std::int64_t begin, std::int64_t end) const {
  const int a = checked_axis(*this, axis);
  if (begin < 0 || begin > end || end > shape_[a]) {
    throw ShapeError(
        fmt::format("slice [{}, {}) of axis {} of {}", begin, end, axis, shape_.to_string()));
  }
  Tensor t = *this;
  t.shape_[a] = end - begin;
  if (data_ != nullptr) {  // null if there are no elements
    t.data_ += begin * strides_[a] * static_cast<std::int64_t>(size_of(dtype_));
  }
  return t;
}

Tensor Tensor::detached() const {
  Tensor t = *this;
  if (buffer_ != nullptr) {
    t.buffer_ = std::shared_ptr<Buffer>(buffer_.get(), [whole = buffer_](Buffer*) {});
  }
  return t;
}

Tensor Tensor::joined(std::span<const Tensor> parts) {
  if (parts.empty()) return {};
  const Tensor& first = parts.front();
  if (first.buffer_ == nullptr) return {};
  const std::byte* expected = first.data_;
  for (const Tensor& part : parts) {
    if (part.buffer_.get() != first.buffer_.get() || part.data_ != expected ||
        part.dtype_ != first.dtype_ || !(part.shape_ == first.shape_) || !part.is_contiguous()) {
      return {};
    }
    expected += part.nbytes();
  }
  Tensor t = first;
  t.shape_ = {static_cast<std::int64_t>(parts.size())};
  for (const std::int64_t extent : first.shape_) t.shape_.push_back(extent);
  t.strides_ = contiguous_strides(t.shape_);
  return t;
}

Tensor Tensor::permute(std::initializer_list<int> axes) const {
  if (static_cast<int>(axes.size()) != rank()) {
    throw ShapeError(fmt::format("permutation of {} axes for {}", axes.size(), shape_.to_string()));
  }
  Tensor t = *this;
  int to = 0;
  for (const int from : axes) {
    const int a = checked_axis(*this, from);
    t.shape_[to] = shape_[a];
    t.strides_[to] = strides_[a];
    ++to;
  }
  return t;
}

Tensor Tensor::reshape(Shape shape) const {
  std::int64_t known = 1;
  int unknown = -1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == -1 && unknown == -1) {
      unknown = axis;
    } else {
      known *= shape[axis];
    }
  }
  if (unknown >= 0 && known > 0) shape[unknown] = shape_.numel() / known;
  if (shape.numel() != shape_.numel() || !is_contiguous()) {
    throw ShapeError(fmt::format("cannot view {}{} as {}", is_contiguous() ? "" : "strided ",
                                 shape_.to_string(), shape.to_string()));
  }
  Tensor t = *this;
  t.shape_ = shape;
  t.strides_ = contiguous_strides(shape);
  return t;
}

void Tensor::copy_to(Tensor& destination) const {
  if (!(destination.shape_ == shape_) || destination.dtype_ != dtype_) {
    throw ShapeError(fmt::format("copy of {} {} into {} {}", name_of(dtype_), shape_.to_string(),
                                 name_of(destination.dtype_), destination.shape_.to_string()));
  }
  if (numel() == 0) return;
  if (is_contiguous() && destination.is_contiguous()) {
    std::memcpy(destination.data_, data_, nbytes());
    return;
  }
  copy_axis(data_, destination.data_, shape_, strides_, destination.strides_, size_of(dtype_), 0);
}

Tensor Tensor::clone(MemoryKind kind) const {
  Tensor t = empty(shape_, dtype_, kind);
  copy_to(t);
  return t;
}

Tensor Tensor::contiguous(MemoryKind kind) const {
  return is_contiguous() ? *this : clone(kind);
}

void expect_shape(const Tensor& tensor, std::string_view name, const Shape& expected) {
  bool matches = tensor.rank() == expected.rank();
  for (int axis = 0; matches && axis < expected.rank(); ++axis) {
    matches = expected[axis] == -1 || expected[axis] == tensor.dim(axis);
  }
  if (matches) return;
  std::string text = expected.to_string();
  for (std::size_t at; (at = text.find("-1")) != std::string::npos;) text.replace(at, 2, "*");
  throw ShapeError(
      fmt::format("{}: expected {}, found {}", name, text, tensor.shape().to_string()));
}

}  // namespace trib
