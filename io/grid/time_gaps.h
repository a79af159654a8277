// Gaps in a series of times.
#pragma once

#include <string>
#include <vector>

#include "io/grid/calendar.h"

namespace trib::io {

/// Say which times a series lacks: how many, where, and which step was expected (that which is most
/// frequent, in months if all steps are such). Empty for a series without gaps
/// and for fewer than three times. Times ascend within each of the parts; what lies between parts
/// is not missed.
std::string describe_gaps(const std::vector<std::vector<double>>& parts, Calendar calendar);

}  // namespace trib::io
