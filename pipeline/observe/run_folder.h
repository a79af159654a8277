// The folder a run leaves behind.
#pragma once

#include <string>

namespace trib::pipeline {

/// Create a folder and those it lies in; nothing if it is there. Throws RuntimeError.
void create_folder(const std::string& path);

/// Name of a fresh folder for a run: ROOT/NAME, or ROOT/NAME-2, -3, … if a run stands there: a run
/// never overwrites another. Created on return. Throws RuntimeError if it cannot be.
std::string create_run_folder(const std::string& root, const std::string& name);

/// Create exactly `directory`; ConfigError if it holds a run already.
std::string create_run_folder_at(const std::string& directory);

/// The latest run of that name that can be gone on with: of ROOT/NAME, ROOT/NAME-2, ... the last
/// with a folder `checkpoints`. Empty if there is none.
std::string find_run_folder(const std::string& root, const std::string& name);

/// Ready `directory` for another attempt at its run: what speaks of the attempt before alone
/// (graph.yaml, trace.json, ...) moves to attempts/N; metrics, samples, statistics and checkpoints
/// stay. Created if it is not there. Throws ConfigError if it holds something else than a run, or
/// if `has_checkpoint` is false and the run there has come to its end.
void continue_run_folder(const std::string& directory, bool has_checkpoint);

/// Write `text` to a file of the folder, aside first and then renamed. Throws RuntimeError.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace trib::pipeline
