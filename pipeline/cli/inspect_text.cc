#include "pipeline/cli/inspect_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

using Variable = io::FileReport::Variable;

// One line for a few channels; their ends for many.
std::string channels_text(const std::vector<io::Channel>& channels) {
  constexpr std::size_t kShown = 12;
  std::string text;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (channels.size() > kShown && i == kShown / 2) {
      text += " ...";
      i = channels.size() - kShown / 2;
    }
    text += " " + channels[i].name;
  }
  return text;
}

}  // namespace

std::string inspect_text(const io::FileReport& report) {
  std::string text = report.format + "\n";
  for (const auto& [name, value] : report.facts) text += fmt::format("  {}: {}\n", name, value);
  if (!report.variables.empty()) {
    constexpr std::array<std::string Variable::*, 6> kFields{&Variable::name,    &Variable::dtype,
                                                             &Variable::shape,   &Variable::chunks,
                                                             &Variable::filters, &Variable::note};
    const Variable header{"name", "type", "shape", "chunks", "filters", ""};
    std::array<std::size_t, kFields.size()> widths{};
    for (std::size_t f = 0; f < kFields.size(); ++f) {
      widths[f] = (header.*kFields[f]).size();
      for (const Variable& v : report.variables)
        widths[f] = std::max(widths[f], (v.*kFields[f]).size());
    }
    const auto row = [&](const Variable& v) {
      std::string line = " ";
      for (std::size_t f = 0; f < kFields.size(); ++f) {
        if (widths[f] > 0) line += fmt::format(" {:<{}}", v.*kFields[f], widths[f]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    };
    row(header);
    for (const Variable& v : report.variables) row(v);
  }
  text += fmt::format("{} channels:{}\n", report.channels.size(), channels_text(report.channels));
  return text;
}

io::Extent parse_window(const std::string& text) {
  io::Extent window;
  const char* const end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, window.height);
  window.width = window.height;
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == 'x') {
    read = std::from_chars(read.ptr + 1, end, window.width);
  }
  if (read.ec != std::errc{} || read.ptr != end || window.height < 1 || window.width < 1) {
    throw ConfigError(
        fmt::format("window \"{}\", expected height and width in pixels such as 128x128", text));
  }
  return window;
}

}  // namespace trib::pipeline
