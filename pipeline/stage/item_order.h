// How a source's items are ordered in an epoch.
#pragma once

#include <cstdint>

namespace trib::pipeline {

enum class ItemOrder : std::uint8_t {
  listed,    ///< one after another
  shuffled,  ///< in a seeded permutation
  grouped,   ///< groups of items in a seeded permutation, and the items of each in another
};

}  // namespace trib::pipeline
