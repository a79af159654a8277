// The extent of a tensor along each of its axes.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace trib {

/// Up to eight extents, held in place.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[static_cast<std::size_t>(axis)]; }
  void push_back(std::int64_t extent);
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }

  /// Number of elements; 1 for a scalar.
  std::int64_t numel() const;
  /// "[2, 3, 4]"
  std::string to_string() const;

  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace trib
