// The folder a run leaves behind.
#pragma once

#include <string>

namespace trib::pipeline {

/// Name of a fresh folder for a run: ROOT/NAME, or ROOT/NAME-2, -3, … if a run stands there: a run
/// never overwrites another. Created on return. Throws RuntimeError if it cannot be.
std::string create_run_folder(const std::string& root, const std::string& name);

/// Create exactly `directory`; ConfigError if it holds a run already.
std::string create_run_folder_at(const std::string& directory);

/// Write `text` to a file of the folder, aside first and then renamed. Throws RuntimeError.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace trib::pipeline
