// A sample that is left out on purpose.
#pragma once

#include "ops/base/error.h"

namespace trib::pipeline {

/// Thrown by SourceStage::read where the parameters leave a sample out, such as a window with too
/// few valid pixels. Nothing is damaged: the run goes on with the next sample whatever on_error
/// says, and nothing is listed.
class NoSample : public DataError {
 public:
  using DataError::DataError;
};

}  // namespace trib::pipeline
