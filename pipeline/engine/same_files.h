// Ranks that work on the same files.
#pragma once

#include "pipeline/engine/plan.h"
#include "pipeline/engine/rank_group.h"

namespace trib::pipeline {

/// Compare what the sources of each rank have left out, which on a lost server is a matter of
/// chance. Collective. Throws DataError on all ranks if it is not the same: samples would not be
/// either.
void require_same_files(const Plan& plan, RankGroup& ranks);

}  // namespace trib::pipeline
