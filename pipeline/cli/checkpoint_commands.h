// What `trib checkpoint` does.
#pragma once

#include <string>
#include <vector>

namespace trib::pipeline {

/// `trib checkpoint inspect`: what a checkpoint (also the newest of a run) or a safetensors file
/// holds, as text, with a table of its tensors if `tensors`, or as JSON. Throws DataError.
std::string inspect_checkpoint(const std::string& path, bool tensors);
std::string inspect_checkpoint_json(const std::string& path);

/// What `trib checkpoint verify` found.
struct VerifyReport {
  std::string text;  ///< a line for each damage, and one for each checkpoint that has none
  bool is_intact = true;
};

/// `trib checkpoint verify`: compare all checksums of a checkpoint, or of all checkpoints of a run.
/// A safetensors file has no checksums: its header is checked. Throws DataError if there is nothing
/// at the path.
VerifyReport verify_checkpoints(const std::string& path);

/// `trib checkpoint export`: write the values of a checkpoint (also the newest of a run) into one
/// safetensors file, whole tensors under their names. With `all_states` AdamW's moments follow as
/// "exp_avg/NAME" and "exp_avg_sq/NAME". Takes the memory of all it writes. Returns what to tell.
/// Throws ConfigError if the file exists or the path is no checkpoint, DataError for damage.
std::string export_checkpoint(const std::string& path, const std::string& file, bool all_states);

/// `trib checkpoint import`: make FOLDER/step-0, a checkpoint of weights alone, out of a
/// safetensors file. `maps` are "old=new": a name that begins with `old` begins with `new` instead;
/// the first that fits is taken. Takes the memory of all tensors. Returns what to tell. Throws
/// ConfigError if the folder exists or a map does not fit, DataError for types other than f32.
std::string import_checkpoint(const std::string& file, const std::string& folder,
                              const std::vector<std::string>& maps);

}  // namespace trib::pipeline
