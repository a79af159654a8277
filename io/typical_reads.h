// What typical reads of a file cost beyond what they want, told from how it is stored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/image_source.h"

namespace trib::io {

/// An axis of an array, and how much of it a read wants, at a place of no particular kind.
struct AxisRead {
  std::int64_t extent = 1;
  std::int64_t chunk = 1;   ///< of the array's chunks; 1 if it has none
  std::int64_t wanted = 1;  ///< neighbours
};

/// Bytes of a read.
struct ReadCost {
  double wanted = 0;
  double decoded = 0;  ///< of whole chunks, the mean over all places
  double amplification() const { return decoded / wanted; }
};

/// Cost of reading a box of an array of elements of so many bytes.
ReadCost read_cost(std::span<const AxisRead> axes, std::int64_t element_bytes);

/// "4.81 MB".
std::string bytes_text(double bytes);

/// "744 (4.81 MB decoded for 6.47 kB)".
std::string amplification_text(const ReadCost& cost);

/// How an array of fields is stored, by what its axes are.
struct FieldStorage {
  std::string name;
  std::int64_t element_bytes = 1;
  AxisRead time, level, row, column;  ///< `wanted` of one image with all levels
  bool in_parallel = true;            ///< whether several threads decode at once
};

/// How images of channels are stored.
struct PixelStorage {
  std::int64_t element_bytes = 1;
  AxisRead channel, row, column;  ///< `wanted` of a window with all channels
  bool in_parallel = true;
};

/// Tell what one time costs, and what to do about it.
void add_typical_reads(const FieldStorage& storage, FileReport& report);

/// Tell what windows with all channels and with one cost, and what to do about it.
void add_typical_reads(const PixelStorage& storage, FileReport& report);

}  // namespace trib::io
