// Where weights come from: checkpoints and safetensors files, behind one face.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "io/safetensors.h"

namespace trib::pipeline {

/// Whether a path is taken for a safetensors file: it is no folder.
bool is_weights_file(const std::string& path);

/// The checkpoints a folder stands for, newest first: itself, if it is one; else those in it, or in
/// its folder `checkpoints` (of a run). Throws DataError if there are none.
std::vector<std::string> find_checkpoints(const std::string& folder);

/// Key of a safetensors file's metadata that gives the tokens in a row of the grid of a position
/// embedding; the name of the tensor follows.
inline constexpr const char* kGridWidthKey = "grid_width.";

/// Named tensors to load weights from. Not thread-safe.
class WeightsSource {
 public:
  struct Entry {
    Shape shape;
    DType dtype = DType::f32;
    std::int64_t grid_width = 0;  ///< of a position embedding: tokens in a row; 0 if unknown
  };

  /// Open a checkpoint's folder, the newest checkpoint of a run, or a file. Throws DataError naming
  /// what is missing or damaged.
  explicit WeightsSource(const std::string& path);

  /// Of the checkpoint or the file.
  const std::string& path() const { return path_; }
  const std::map<std::string, Entry>& tensors() const { return tensors_; }

  /// Read elements `elements` of the part `split` of a tensor of type f32. Throws DataError.
  void read(const std::string& name, const TensorSplit& split, const Range& elements,
            float* to) const;
  Tensor read_whole(const std::string& name) const;

 private:
  std::string path_;
  std::unique_ptr<io::Checkpoint> checkpoint_;  // one of the two
  std::unique_ptr<io::SafetensorsFile> file_;
  std::map<std::string, Entry> tensors_;
};

/// Copy elements `elements` of the part `split` of `whole`, which is f32 and contiguous.
void copy_part(const Tensor& whole, const TensorSplit& split, const Range& elements, float* to);

}  // namespace trib::pipeline
