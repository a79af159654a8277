#include "io/typical_reads.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace trib::io {
namespace {

// From here on it is worth doing something about it.
constexpr double kMuch = 2;

// Chunks that `wanted` neighbours touch along an axis, averaged over their places.
double chunks_touched(const AxisRead& axis) {
  if (axis.wanted >= axis.extent) {
    return static_cast<double>((axis.extent + axis.chunk - 1) / axis.chunk);
  }
  return static_cast<double>(axis.wanted - 1) / static_cast<double>(axis.chunk) + 1;
}

std::string decoding_text(bool in_parallel) {
  return in_parallel ? ", decoded by all I/O threads at once" : ", decoded by one thread at a time";
}

}  // namespace

ReadCost read_cost(std::span<const AxisRead> axes, std::int64_t element_bytes) {
  ReadCost cost{static_cast<double>(element_bytes), static_cast<double>(element_bytes)};
  for (const AxisRead& axis : axes) {
    cost.wanted *= static_cast<double>(axis.wanted);
    cost.decoded *= chunks_touched(axis) * static_cast<double>(axis.chunk);
  }
  return cost;
}

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 5> kUnits{"bytes", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.3g} {}", bytes, kUnits[unit]);
}

std::string amplification_text(const ReadCost& cost) {
  return fmt::format("{:.3g} ({} decoded for {})", cost.amplification(), bytes_text(cost.decoded),
                     bytes_text(cost.wanted));
}

void add_typical_reads(const FieldStorage& storage, FileReport& report) {
  const std::array<AxisRead, 4> axes{storage.time, storage.level, storage.row, storage.column};
  const ReadCost cost = read_cost(axes, storage.element_bytes);
  report.facts.emplace_back("one time of " + storage.name,
                            amplification_text(cost) + decoding_text(storage.in_parallel));
  if (cost.amplification() < kMuch) return;
  const std::int64_t times = std::min(storage.time.chunk, storage.time.extent);
  if (times > 1) {
    report.facts.emplace_back(
        "advice",
        fmt::format("reading one time of {} inflates {}: with order: grouped each chunk serves {} "
                    "samples, given cache >= {}; or rewrite the files by trib prepare",
                    storage.name, times, times, bytes_text(cost.decoded)));
  } else {
    report.facts.emplace_back("advice",
                              fmt::format("chunks of {} hold much beside the field: rewrite the "
                                          "files by trib prepare",
                                          storage.name));
  }
}

void add_typical_reads(const PixelStorage& storage, FileReport& report) {
  AxisRead one = storage.channel;
  one.wanted = 1;
  const std::array<AxisRead, 3> all{storage.channel, storage.row, storage.column};
  const std::array<AxisRead, 3> single{one, storage.row, storage.column};
  const ReadCost of_all = read_cost(all, storage.element_bytes);
  const ReadCost of_one = read_cost(single, storage.element_bytes);
  const std::string window =
      fmt::format("{}x{} windows", storage.row.wanted, storage.column.wanted);
  const auto tell = [&](const char* channels, const ReadCost& cost) {
    report.facts.emplace_back(fmt::format("{} of {}", window, channels),
                              amplification_text(cost) + decoding_text(storage.in_parallel));
  };
  tell(storage.channel.extent > 1 ? "all channels" : "the channel", of_all);
  if (storage.channel.extent > 1) tell("one channel", of_one);
  if (of_all.amplification() >= kMuch) {
    std::array<AxisRead, 3> whole = all;
    for (AxisRead& axis : whole) axis.wanted = axis.extent;
    report.facts.emplace_back(
        "advice",
        fmt::format("{} decode much around them: take those that lie together one after another "
                    "(order: grouped), or with cache >= {} (all of it decoded); or rewrite the "
                    "files by trib prepare",
                    window, bytes_text(read_cost(whole, storage.element_bytes).decoded)));
  }
  if (storage.channel.extent > 1 && of_one.amplification() >= kMuch * of_all.amplification()) {
    report.facts.emplace_back(
        "advice",
        fmt::format("chunks hold {} channels, and one costs as much as all of them: choose in one "
                    "node all channels you need",
                    std::min(storage.channel.chunk, storage.channel.extent)));
  }
}

}  // namespace trib::io
