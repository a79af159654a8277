#include "io/grid/time_gaps.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include <fmt/format.h>

namespace trib::io {
namespace {

constexpr std::size_t kGapsShown = 3;

/// Two times that follow each other.
struct Step {
  double from, to;
  double length;  // in seconds or months
};

std::string step_text(double length, bool months) {
  if (months) {
    return length == 12 ? "year" : length == 1 ? "month" : fmt::format("{:g} months", length);
  }
  if (std::fmod(length, 86400) == 0) return fmt::format("{:g} d", length / 86400);
  return fmt::format("{:g} h", length / 3600);
}

// Months in a step, 0 if it is not a number of months, whatever day of theirs the times are.
double months_in(double seconds, Calendar calendar) {
  constexpr double kDay = 86400, kShortest = 28 * kDay, kUneven = 3 * kDay;
  const double month = calendar == Calendar::days_360   ? 30 * kDay
                       : calendar == Calendar::no_leap  ? 365 * kDay / 12
                       : calendar == Calendar::all_leap ? 366 * kDay / 12
                                                        : 365.2425 * kDay / 12;
  const double count = std::round(seconds / month);
  return seconds >= kShortest && std::abs(seconds - count * month) <= kUneven ? count : 0;
}

}  // namespace

std::string describe_gaps(const std::vector<std::vector<double>>& parts, Calendar calendar) {
  std::vector<Step> steps;
  for (const std::vector<double>& times : parts) {
    for (std::size_t i = 1; i < times.size(); ++i) {
      steps.push_back({times[i - 1], times[i], times[i] - times[i - 1]});
    }
  }
  if (steps.size() < 2) return "";
  const bool months = std::ranges::all_of(
      steps, [&](const Step& step) { return months_in(step.length, calendar) > 0; });
  for (Step& step : steps) {
    if (months) step.length = months_in(step.length, calendar);
  }
  std::map<double, std::size_t> counts;
  for (const Step& step : steps) ++counts[step.length];
  const auto usual = std::ranges::max_element(
      counts, [](const auto& a, const auto& b) { return a.second < b.second; });
  const double expected = usual->first;
  if (counts.size() == 1) return "";
  if (usual->second * 2 < steps.size()) {
    return fmt::format("the {} times come at irregular steps, of {} to {}",
                       steps.size() + parts.size(), step_text(counts.begin()->first, months),
                       step_text(counts.rbegin()->first, months));
  }
  double missing = 0;
  std::vector<std::string> shown;
  std::size_t gaps = 0, short_steps = 0;
  for (const Step& step : steps) {
    if (step.length < expected) ++short_steps;
    if (step.length <= expected) continue;
    missing += std::max(1.0, std::round(step.length / expected) - 1);
    if (gaps++ < kGapsShown) {
      shown.push_back(fmt::format("{} to {}", format_time(step.from, calendar),
                                  format_time(step.to, calendar)));
    }
  }
  std::string text;
  if (gaps > 0) {
    text = fmt::format("{} time{} of a series with one every {} {} missing in {}: {}{}",
                       static_cast<std::int64_t>(missing), missing == 1 ? "" : "s",
                       step_text(expected, months), missing == 1 ? "is" : "are",
                       gaps == 1 ? "a gap" : fmt::format("{} gaps", gaps), fmt::join(shown, ", "),
                       gaps > kGapsShown ? fmt::format(" and {} more", gaps - kGapsShown) : "");
  }
  if (short_steps > 0) {
    text += fmt::format("{}{} steps are shorter than the usual {}", text.empty() ? "" : "; ",
                        short_steps, step_text(expected, months));
  }
  return text;
}

}  // namespace trib::io
