// How `trib inspect` prints a file's contents.
#pragma once

#include <string>

#include "io/image_source.h"

namespace trib::pipeline {

std::string inspect_text(const io::FileReport& report);

}  // namespace trib::pipeline
