// Commands that go through data without training, on any number of ranks.
#pragma once

#include <functional>

#include "pipeline/engine/plan.h"
#include "pipeline/engine/rank_group.h"

namespace trib::pipeline {

/// Call `prepare` on all ranks, which returns the plan, then `work` on all. If `prepare` fails
/// anywhere, all end in good order, with the message of the lowest failing rank. A failure of
/// `work` prints its message and ends all ranks at once, since others may be waiting in a
/// collective. Returns the exit code.
int run_data_pass(RankGroup& ranks, const std::function<const Plan&()>& prepare,
                  const std::function<void()>& work);

}  // namespace trib::pipeline
