// The table of contents of a checkpoint: which file holds which elements of which tensor.
//
// A checkpoint is a folder with one safetensors file a rank and `index.json`:
//
//   {"format": "tributary-checkpoint", "version": 1, "step": 120,
//    "tensors": {"blocks.0.attn.qkv.weight": {"shape": [96, 32], "dtype": "F32"}, ...},
//    "pieces": [{"tensor": "blocks.0.attn.qkv.weight", "state": "value", "file":
//                "rank-00003.safetensors", "key": "value/blocks.0.attn.qkv.weight",
//                "split": {"axis": 0, "groups": 3, "own": [[16, 32]]}, "elements": [512, 1024],
//                "xxh3": "a1b2c3d4e5f60718"}, ...],
//    "training": {...},
//    "xxh3": "0f1e2d3c4b5a6978"
//   }
//
// The last member, on a line of its own, is the XXH3 (64 bits, seed 0) of all bytes before that
// line; `head -n -2 index.json | xxhsum -H3` finds it too.
//
// A piece without a "split" is cut from the whole tensor. All elements are F32. A position
// embedding has a "grid_width" beside its shape.
//
// The pieces of a tensor's state cover each element at least once. Shards of several ranks are cut
// from flat buffers, so that a piece is a run of elements of a (split) tensor rather than a box.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ops/base/dtype.h"
#include "ops/base/shape.h"
#include "ops/base/split.h"

namespace trib::io {

/// The states a tensor may have in a checkpoint: its value and AdamW's moments.
inline constexpr const char* kValueState = "value";
inline constexpr const char* kExpAvgState = "exp_avg";
inline constexpr const char* kExpAvgSqState = "exp_avg_sq";

/// A run of elements of one state of a tensor, as a file holds it.
struct CheckpointPiece {
  std::string tensor;          ///< global name
  std::string state;           ///< kValueState, ...
  TensorSplit split = {};      ///< the part of the tensor it is cut from; inactive: all of it
  Range elements = {};         ///< of that part, flat
  std::string file;            ///< within the checkpoint's folder
  std::string key;             ///< name of the tensor in the file, of one dimension
  std::uint64_t checksum = 0;  ///< XXH3 (64 bits, seed 0) of its bytes
};

struct CheckpointTensor {
  Shape shape;  ///< global
  DType dtype = DType::f32;
  std::int64_t grid_width = 0;  ///< of a position embedding: tokens in a row of its grid; else 0
};

struct CheckpointIndex {
  std::int64_t step = 0;
  std::map<std::string, CheckpointTensor> tensors = {};
  std::vector<CheckpointPiece> pieces = {};
  std::string training = "{}";  ///< a JSON object that means nothing here

  /// Throws RuntimeError if `training` is no JSON object.
  std::string to_json() const;
  /// Parse, check() and compare the checksum. Throws DataError naming `path`, the tensor and what
  /// is wrong.
  static CheckpointIndex from_json(const std::string& text, const std::string& path);
  /// Parse alone: known version, names and numbers as they should be, file names without folders.
  /// Enough for one rank's part of an index. Throws DataError.
  static CheckpointIndex parse(const std::string& text, const std::string& path);
  /// Check that it fits together: pieces of listed tensors, ranges inside shapes, every element
  /// covered of every state that has a piece and of the value of every tensor. Throws DataError.
  void check(const std::string& path) const;
};

}  // namespace trib::io
