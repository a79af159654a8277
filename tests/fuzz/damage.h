// Ways to damage a file, each told by a number: the same number makes the same damage.
#pragma once

#include <cstdint>
#include <string>

namespace trib::test {

/// What case `number` makes of the contents of a file: shorter, with bits or bytes changed, with a
/// block overwritten or moved, or with bytes put in. Half of the changes are in the first bytes,
/// where headers are.
std::string damaged(const std::string& contents, std::uint64_t number);

/// How, for people: "cut off at 317 of 2048 bytes".
std::string describe_damage(const std::string& contents, std::uint64_t number);

}  // namespace trib::test
