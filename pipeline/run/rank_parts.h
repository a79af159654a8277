// Files of a run folder that each rank writes a part of.
#pragma once

#include <string>
#include <vector>

#include "pipeline/engine/ingest.h"

namespace trib::pipeline {

/// What a rank has traced so far.
void write_trace_part(const std::string& folder, int rank);

/// What a rank has left out; no file if that is nothing.
void write_skipped_part(const std::string& folder, int rank,
                        const std::vector<Ingest::Skipped>& skipped);

/// Make trace.json and skipped.jsonl of the parts of all ranks, which then go. Throws RuntimeError,
/// and keeps the parts, if a file cannot be written.
void join_rank_parts(const std::string& folder, int ranks);

}  // namespace trib::pipeline
