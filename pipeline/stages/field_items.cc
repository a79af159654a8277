#include "pipeline/stages/field_items.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "ops/base/error.h"
#include "pipeline/graph/parameter.h"

namespace trib::pipeline {
namespace {

// Times closer than this are the same.
constexpr double kSameSeconds = 0.5;

double hours_of(const std::string& text) {
  return parameters_from_text({param::duration("lead", "Lead time.").above(0)},
                              fmt::format("{{lead: {}}}", text))
      .duration_hours("lead");
}

}  // namespace

LeadTimes parse_lead_times(const std::vector<std::string>& texts, double step_hours) {
  LeadTimes leads;
  for (const std::string& text : texts) {
    const std::size_t dots = text.find("..");
    if (dots == std::string::npos) {
      leads.listed.push_back(hours_of(text));
      continue;
    }
    if (texts.size() > 1) {
      throw ConfigError(
          fmt::format("lead: the range {} draws lead times at random and stands alone; the list "
                      "is {}",
                      text, fmt::join(texts, ", ")));
    }
    leads.from = hours_of(text.substr(0, dots));
    leads.to = hours_of(text.substr(dots + 2));
    leads.step = step_hours;
    if (leads.to < leads.from) {
      throw ConfigError(fmt::format("lead: the range {} ends before it begins", text));
    }
  }
  if (step_hours > 0 && !leads.random()) {
    throw ConfigError("lead_step: is for lead times drawn from a range, such as lead: 6h..120h");
  }
  return leads;
}

FieldItems::FieldItems(std::vector<double> times, std::vector<TimeUse> uses, LeadTimes leads)
    : times_(std::move(times)), uses_(std::move(uses)), leads_(std::move(leads)) {
  for (std::int64_t image = 0; image < static_cast<std::int64_t>(times_.size()); ++image) {
    std::vector<Item>& items = use_of(image) == TimeUse::train ? train_ : eval_;
    if (leads_.none()) {
      items.push_back({image, 0});
    } else if (leads_.random()) {
      bool any = false;
      visit_drawable(image, [&](std::int64_t) { return any = true; });
      if (any) items.push_back({image, 0});
    }
    for (std::size_t lead = 0; lead < leads_.listed.size(); ++lead) {
      const std::int64_t target = later(image, leads_.listed[lead]);
      if (target >= 0 && use_of(target) == use_of(image)) items.push_back({image, lead});
    }
  }
  // Without times of its own, the evaluation takes those of the training.
  if (std::ranges::find(uses_, TimeUse::eval) == uses_.end()) eval_ = train_;
}

FieldPair FieldItems::pair(Split split, std::int64_t item, const RandomStream& random) const {
  const Item& at = of(split)[static_cast<std::size_t>(item)];
  FieldPair pair{at.image, -1, 0};
  if (leads_.none()) return pair;
  if (leads_.random()) {
    std::vector<std::int64_t> drawable;
    visit_drawable(at.image, [&](std::int64_t target) {
      drawable.push_back(target);
      return false;
    });
    pair.target = drawable[random.below(0, drawable.size())];
  } else {
    pair.target = later(at.image, leads_.listed[at.lead]);
  }
  pair.lead_hours = (time(pair.target) - time(pair.image)) / 3600;
  return pair;
}

// The first image of the same member that is not before a time; one past the member if none is.
std::int64_t FieldItems::first_not_before(std::int64_t image, double time) const {
  const auto begin = times_.begin() + image / per_member() * per_member();
  return std::lower_bound(begin, begin + per_member(), time - kSameSeconds) - times_.begin();
}

// The image of the same member some hours later, -1 if the series has none.
std::int64_t FieldItems::later(std::int64_t image, double hours) const {
  const double wanted = time(image) + hours * 3600;
  const std::int64_t found = first_not_before(image, wanted);
  const std::int64_t end = (image / per_member() + 1) * per_member();
  return found == end || time(found) > wanted + kSameSeconds ? -1 : found;
}

// Whether a later image is of the same split and, if lead times have a step, on it.
bool FieldItems::is_drawable(std::int64_t image, std::int64_t target) const {
  if (use_of(image) != use_of(target)) return false;
  if (leads_.step == 0) return true;
  const double steps = ((time(target) - time(image)) / 3600 - leads_.from) / leads_.step;
  return std::abs(steps - std::round(steps)) * leads_.step * 3600 <= kSameSeconds;
}

// Call visit(target) for what may be drawn, until it returns true.
template <class Visit>
void FieldItems::visit_drawable(std::int64_t image, Visit&& visit) const {
  const std::int64_t end = (image / per_member() + 1) * per_member();
  const double last = time(image) + leads_.to * 3600 + kSameSeconds;
  for (std::int64_t target = first_not_before(image, time(image) + leads_.from * 3600);
       target < end && time(target) <= last; ++target) {
    if (is_drawable(image, target) && visit(target)) return;
  }
}

}  // namespace trib::pipeline
