// Preparing sources whose files may take for ever to open.
#pragma once

#include <functional>
#include <memory>

#include "pipeline/stage/stage.h"

namespace trib::pipeline {

/// Prepare the source that `make` makes. If files take longer to open than its timeout, it goes on
/// with another one without them, as far as its read_errors() allow; else throws DataError with the
/// name of such a file. Threads that open them, and the stages with them, live on.
StreamInfo prepare_in_time(const std::function<std::shared_ptr<Stage>()>& make);

}  // namespace trib::pipeline
