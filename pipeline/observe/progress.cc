#include "pipeline/observe/progress.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pipeline/observe/trace.h"

namespace trib::pipeline {
namespace {

constexpr double kBarInterval = 0.1;   // seconds between redraws
constexpr double kLineInterval = 5.0;  // seconds between log lines
constexpr int kBarWidth = 24;

int terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
}

}  // namespace

std::string format_duration(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

Progress::Progress(bool visible) : visible_(visible), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  clear();
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  erase_bar();
}

void Progress::begin(const std::string& phase, std::int64_t total) {
  const std::lock_guard lock(mutex_);
  phase_ = phase;
  total_ = total;
  began_ = last_drawn_ = trace::seconds();
}

void Progress::update(std::int64_t done, const std::string& details) {
  if (!visible_) return;
  const std::lock_guard lock(mutex_);
  const double now = trace::seconds();
  if (now - last_drawn_ < (terminal_ ? kBarInterval : kLineInterval)) return;
  last_drawn_ = now;
  draw(done, details);
}

void Progress::draw(std::int64_t done, const std::string& details) {
  const double elapsed = trace::seconds() - began_;
  std::string eta;
  if (total_ > 0 && done > 0) {
    eta = fmt::format(" | {} left", format_duration(elapsed * static_cast<double>(total_ - done) /
                                                    static_cast<double>(done)));
  }
  const std::string count =
      total_ > 0 ? fmt::format("{}/{}", done, total_) : fmt::format("{}", done);
  if (!terminal_) {
    fmt::print(stderr, "{} {} | {}{}\n", phase_, count, details, eta);
    return;
  }
  std::string line = phase_;
  if (total_ > 0) {
    const auto filled = static_cast<std::size_t>(kBarWidth * done / total_);
    line += fmt::format(" [{}{}]", std::string(filled, '='), std::string(kBarWidth - filled, ' '));
  }
  line += fmt::format(" {} | {}{}", count, details, eta);
  line.resize(std::min<std::size_t>(line.size(), static_cast<std::size_t>(terminal_columns() - 1)));
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  bar_shown_ = true;
}

void Progress::erase_bar() {
  if (bar_shown_) fmt::print(stderr, "\r\033[K");
  bar_shown_ = false;
}

void Progress::end(const std::string& summary) {
  say(summary);
}

void Progress::say(const std::string& line) {
  if (!visible_) return;
  const std::lock_guard lock(mutex_);
  erase_bar();
  fmt::print(stderr, "{}\n", line);
}

}  // namespace trib::pipeline
