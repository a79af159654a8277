// An n-dimensional array: a typed, strided view of a buffer it may share with other tensors.
//
// Copying a Tensor copies the handle, not the elements. Names of tensors end in their axes:
// x_bnd is [batch, token, dim]; each file that uses such names gives a legend at its head.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ops/base/dtype.h"
#include "ops/base/memory_ledger.h"
#include "ops/base/shape.h"

namespace trib {

class Tensor {
 public:
  /// Make a tensor without elements: defined() is false.
  Tensor() = default;

  /// Allocate an uninitialised contiguous tensor, charged to `kind`.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32,
                      MemoryKind kind = MemoryKind::workspace);
  /// Allocate a contiguous tensor of zeros, charged to `kind`.
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32,
                      MemoryKind kind = MemoryKind::workspace);
  /// A contiguous tensor on all of a buffer of the right size.
  static Tensor on(std::shared_ptr<Buffer> buffer, const Shape& shape, DType dtype = DType::f32);
  /// View memory owned by someone else, who must outlive the tensor. Contiguous.
  static Tensor view(void* data, const Shape& shape, DType dtype = DType::f32);

  bool defined() const { return data_ != nullptr || shape_.numel() == 0; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }  ///< in elements
  int rank() const { return shape_.rank(); }
  std::int64_t dim(int axis) const { return shape_[axis < 0 ? axis + rank() : axis]; }
  std::int64_t numel() const { return data_ == nullptr ? 0 : shape_.numel(); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  bool is_contiguous() const;
  /// Whether this handle is the only one on a buffer of its own.
  bool is_unique() const { return buffer_ != nullptr && buffer_.use_count() == 1; }

  /// First element as T; throws ShapeError if T is not the element type.
  template <class T>
  T* data() {
    check_dtype(DTypeOf<T>::value);
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* data() const {
    check_dtype(DTypeOf<T>::value);
    return reinterpret_cast<const T*>(data_);
  }
  std::byte* bytes() { return data_; }
  const std::byte* bytes() const { return data_; }

  /// View with `axis` fixed at `index` and removed.
  Tensor select(int axis, std::int64_t index) const;
  /// View of [begin, end) along `axis`.
  Tensor slice(int axis, std::int64_t begin, std::int64_t end) const;
  /// View with the axes in another order.
  Tensor permute(std::initializer_list<int> axes) const;
  /// View of a contiguous tensor under another shape; one extent may be -1.
  Tensor reshape(Shape shape) const;
  /// The same view for an owner of its own: is_unique() counts its copies alone, while what it is
  /// part of lives on with it. For memory whose parts are handed to different owners.
  Tensor detached() const;
  /// Tensors of one shape that lie one after another in one buffer, as one tensor [parts, ...];
  /// undefined if they do not.
  static Tensor joined(std::span<const Tensor> parts);

  /// Copy the elements into `destination` (same shape and type, any strides).
  void copy_to(Tensor& destination) const;
  /// A contiguous copy with its own buffer.
  Tensor clone(MemoryKind kind = MemoryKind::workspace) const;
  /// This tensor if contiguous, else a contiguous copy.
  Tensor contiguous(MemoryKind kind = MemoryKind::workspace) const;

 private:
  void check_dtype(DType expected) const;

  std::shared_ptr<Buffer> buffer_;  // null for views of foreign memory
  std::byte* data_ = nullptr;
  Shape shape_;
  Shape strides_;
  DType dtype_ = DType::f32;
};

/// Check the shape of a tensor that callers know as `name`; -1 accepts any extent.
/// Throws ShapeError "x_bnd: expected [2, *, 8], found [2, 3, 4]".
void expect_shape(const Tensor& tensor, std::string_view name, const Shape& expected);

}  // namespace trib
