// Which fields of a series are samples: single ones or pairs for a forecast, for training or for
// evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/base/random.h"
#include "pipeline/stage/flow.h"

namespace trib::pipeline {

/// How far ahead a forecast looks, in hours.
struct LeadTimes {
  std::vector<double> listed;  ///< a pair for each; empty if none or random
  double from = 0, to = 0;     ///< of lead times drawn at random
  double step = 0;             ///< those are from, from + step, ...; 0: whatever the times allow
  bool random() const { return to > 0; }
  bool none() const { return listed.empty() && !random(); }
};

/// Parse "6h", "24h" or one range "6h..120h", whose lead times are drawn at random. `step_hours` is
/// 0 if not given. Throws ConfigError.
LeadTimes parse_lead_times(const std::vector<std::string>& texts, double step_hours);

/// A field, or a field and the one to forecast.
struct FieldPair {
  std::int64_t image = 0;
  std::int64_t target = -1;
  double lead_hours = 0;
};

/// The part each time of a series plays.
enum class TimeUse : std::uint8_t { train, eval };

/// The items of the two splits. Both fields of a pair are of one member and one split, so that no
/// field of the evaluation is seen in training.
class FieldItems {
 public:
  /// `times` of all images, in seconds, those of one member after those of another; `uses` of the
  /// times of a member.
  FieldItems(std::vector<double> times, std::vector<TimeUse> uses, LeadTimes leads);

  std::int64_t size(Split split) const { return static_cast<std::int64_t>(of(split).size()); }
  /// Image of an item.
  std::int64_t image(Split split, std::int64_t item) const {
    return of(split)[static_cast<std::size_t>(item)].image;
  }
  /// The pair of an item; of random lead times that which `random` draws.
  FieldPair pair(Split split, std::int64_t item, const RandomStream& random) const;

 private:
  struct Item {
    std::int64_t image = 0;
    std::size_t lead = 0;  // in LeadTimes::listed
  };

  const std::vector<Item>& of(Split split) const { return split == Split::train ? train_ : eval_; }
  std::int64_t per_member() const { return static_cast<std::int64_t>(uses_.size()); }
  TimeUse use_of(std::int64_t image) const {
    return uses_[static_cast<std::size_t>(image % per_member())];
  }
  double time(std::int64_t image) const { return times_[static_cast<std::size_t>(image)]; }
  std::int64_t first_not_before(std::int64_t image, double time) const;
  std::int64_t later(std::int64_t image, double hours) const;
  bool is_drawable(std::int64_t image, std::int64_t target) const;
  template <class Visit>
  void visit_drawable(std::int64_t image, Visit&& visit) const;

  std::vector<double> times_;
  std::vector<TimeUse> uses_;
  LeadTimes leads_;
  std::vector<Item> train_, eval_;
};

}  // namespace trib::pipeline
