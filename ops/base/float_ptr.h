// Pointers to floating-point numbers whose type, float32 or bfloat16, is known at run time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/base/bfloat16.h"
#include "ops/base/dtype.h"

namespace trib {

/// Where numbers to be read begin. What takes one takes a const float* or const BFloat16* too.
class ConstFloatPtr {
 public:
  ConstFloatPtr() = default;
  ConstFloatPtr(std::nullptr_t) {}
  ConstFloatPtr(const float* data) : data_(data) {}
  ConstFloatPtr(const BFloat16* data) : data_(data), is_bf16_(true) {}

  bool is_bf16() const { return is_bf16_; }
  DType dtype() const { return is_bf16_ ? DType::bf16 : DType::f32; }
  std::size_t element_bytes() const { return is_bf16_ ? sizeof(BFloat16) : sizeof(float); }
  /// As the type it is; anything else is undefined.
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }
  ConstFloatPtr operator+(std::int64_t elements) const {
    ConstFloatPtr moved = *this;
    moved.data_ = static_cast<const std::byte*>(data_) +
                  elements * static_cast<std::int64_t>(element_bytes());
    return moved;
  }
  bool operator==(std::nullptr_t) const { return data_ == nullptr; }
  bool operator==(const ConstFloatPtr&) const = default;

 private:
  const void* data_ = nullptr;
  bool is_bf16_ = false;
};

/// Where numbers to be written begin.
class FloatPtr {
 public:
  FloatPtr() = default;
  FloatPtr(std::nullptr_t) {}
  FloatPtr(float* data) : data_(data) {}
  FloatPtr(BFloat16* data) : data_(data), is_bf16_(true) {}
  FloatPtr(void* data, DType dtype) : data_(data), is_bf16_(dtype == DType::bf16) {}

  operator ConstFloatPtr() const {
    return is_bf16_ ? ConstFloatPtr(as<BFloat16>()) : ConstFloatPtr(as<float>());
  }
  bool is_bf16() const { return is_bf16_; }
  DType dtype() const { return is_bf16_ ? DType::bf16 : DType::f32; }
  std::size_t element_bytes() const { return is_bf16_ ? sizeof(BFloat16) : sizeof(float); }
  /// As the type it is; anything else is undefined.
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  FloatPtr operator+(std::int64_t elements) const {
    FloatPtr moved = *this;
    moved.data_ =
        static_cast<std::byte*>(data_) + elements * static_cast<std::int64_t>(element_bytes());
    return moved;
  }
  bool operator==(std::nullptr_t) const { return data_ == nullptr; }
  bool operator==(const FloatPtr&) const = default;

 private:
  void* data_ = nullptr;
  bool is_bf16_ = false;
};

/// Call body with a float* or a BFloat16*, according to the type: what the elements are.
template <class Pointer, class Body>
void with_float_type(const Pointer& pointer, const Body& body) {
  if (pointer.is_bf16()) {
    body(pointer.template as<BFloat16>());
  } else {
    body(pointer.template as<float>());
  }
}

}  // namespace trib
