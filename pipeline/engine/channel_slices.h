// Which channels of a graph are this rank's.
#pragma once

#include <vector>

#include "pipeline/stage/stream_info.h"

namespace trib::pipeline {

/// Names of the channels and targets that this rank owns, of all that arrive at `ends` (at least
/// one, with the same division). The channels of the first end are divided by
/// Division::own_channels(); those that only later ends have are shared evenly. A target goes with
/// the channel of its name; other targets are shared evenly. Each channel has one owner, unless all
/// ranks own all. Throws ConfigError as Division::check() does.
ChannelNames own_names(const std::vector<const StreamInfo*>& ends);

}  // namespace trib::pipeline
