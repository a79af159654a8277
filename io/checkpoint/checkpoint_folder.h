// The folder of a run's checkpoints: which names mean what, and how they change.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trib::io {

inline constexpr const char* kIndexFile = "index.json";

/// "step-120"
std::string checkpoint_name(std::int64_t step);
/// The N of a name step-N.
std::optional<std::int64_t> step_of(std::string_view name);
/// "rank-00003.safetensors"
std::string rank_file_name(int rank);

/// Rename, replacing a file but not a folder that holds something. Throws RuntimeError.
void rename_path(const std::string& from, const std::string& to);
/// Remove a folder and all in it, if it is there. Throws RuntimeError.
void remove_folder(const std::string& path);
/// Give a folder the name NAME.damaged, or NAME.damaged-2, ...: the first that is free.
void set_damaged_aside(const std::string& path);
/// Let FOLDER/latest be a link to a name in the folder. Throws RuntimeError.
void point_latest(const std::string& folder, const std::string& name);

}  // namespace trib::io
