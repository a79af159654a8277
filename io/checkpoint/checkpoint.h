// Reading a checkpoint, whatever number of ranks wrote it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint_index.h"
#include "ops/base/tensor.h"

namespace trib::io {

/// An open checkpoint. Not thread-safe.
class Checkpoint {
 public:
  /// Open FOLDER/step-N: reads the index, and the headers of all files. Throws DataError naming the
  /// file, and the tensor where one is at fault: missing or truncated files, keys or sizes other
  /// than in the index, an index that is damaged or of another step than the folder.
  explicit Checkpoint(const std::string& path);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::string& path() const { return path_; }
  const CheckpointIndex& index() const { return index_; }
  bool contains(const std::string& tensor, const std::string& state) const;

  /// Read all pieces and compare their checksums, several files in parallel. Returns one line for
  /// each damaged piece: "FILE: TENSOR (STATE): checksum ... expected, ... found".
  std::vector<std::string> verify() const;

  /// Read elements `elements` of the part `split` of a tensor's state into `to`, put together from
  /// whatever pieces hold them; checksums of the pieces read are checked. Reads no piece that is
  /// not needed. Throws DataError naming file and tensor.
  void read(const std::string& tensor, const std::string& state, const TensorSplit& split,
            const Range& elements, float* to) const;
  /// The whole tensor.
  Tensor read_whole(const std::string& tensor, const std::string& state) const;

 private:
  struct Files;
  std::string path_;
  CheckpointIndex index_;
  std::unique_ptr<Files> files_;
};

/// Paths of the checkpoints step-N of a folder, newest (largest N) first. Empty if there is none,
/// or no such folder.
std::vector<std::string> list_checkpoints(const std::string& folder);

}  // namespace trib::io
