// Preparing sources whose files may take for ever to open.
#pragma once

#include <memory>

#include "pipeline/stage/stage.h"

namespace trib::pipeline {

/// source.prepare(); `stage` owns the source. Throws DataError with the name of the file if opening
/// one takes longer than the source's timeout. The thread that opens it, and the stage with it,
/// then live on.
StreamInfo prepare_in_time(const std::shared_ptr<Stage>& stage, SourceStage& source);

}  // namespace trib::pipeline
