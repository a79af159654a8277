#include "ops/base/dtype.h"

#include <array>

namespace trib {
namespace {
struct Entry {
  std::size_t size;
  std::string_view name;
};
constexpr std::array<Entry, 11> kEntries{{{4, "f32"},
                                          {8, "f64"},
                                          {1, "i8"},
                                          {2, "i16"},
                                          {4, "i32"},
                                          {8, "i64"},
                                          {1, "u8"},
                                          {2, "u16"},
                                          {4, "u32"},
                                          {8, "u64"},
                                          {2, "bf16"}}};
}  // namespace

std::size_t size_of(DType dtype) {
  return kEntries[static_cast<std::size_t>(dtype)].size;
}
std::string_view name_of(DType dtype) {
  return kEntries[static_cast<std::size_t>(dtype)].name;
}

}  // namespace trib
