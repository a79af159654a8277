// Files that are being opened, for those who wait.
//
// A call into a library that opens a file on a broken disk or a lost server may never return, and
// cannot be called off. Who waits for it can at least tell which file it is.
#pragma once

#include <string>
#include <vector>

namespace trib::io {

/// Says as long as it lives that a file is being opened. To be made before anything touches it, and
/// before any lock is taken: a file that cannot be reached makes its constructor wait, where nobody
/// else has to.
class OpeningFile {
 public:
  /// Throws DataError if the path is a pipe, a socket or a device, on which opening could wait for
  /// ever.
  explicit OpeningFile(const std::string& path) : OpeningFile(path, path) {}
  /// The same of a part of `file` that is called `name`.
  OpeningFile(std::string name, const std::string& file);
  ~OpeningFile();
  OpeningFile(const OpeningFile&) = delete;
  OpeningFile& operator=(const OpeningFile&) = delete;
};

/// A file that is being opened, and for how long.
struct Opening {
  std::string path;
  double seconds = 0;
};

/// Files of this process that have been being opened for so long, the longest first.
std::vector<Opening> slow_openings(double seconds);

}  // namespace trib::io
