// JPEG 2000 files whose parts do not fit together.
#pragma once

#include <string>

namespace trib::io {

/// OpenJPEG ends the process where a damaged length leads it beyond the end of a file. Throws
/// DataError unless the boxes of the file, the segments of its main header and its tile parts
/// follow one another up to its end (ISO/IEC 15444-1, annexes A and I).
void check_jpeg2000_file(const std::string& path);

}  // namespace trib::io
