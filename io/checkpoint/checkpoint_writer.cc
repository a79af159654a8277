#include "io/checkpoint/checkpoint_writer.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/checkpoint_folder.h"
#include "io/pending_file.h"
#include "io/safetensors.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

namespace fs = std::filesystem;

/// A rank's part of the index: an index without tensors.
std::string part_file_name(int rank) {
  return fmt::format("rank-{:05}.json", rank);
}

std::vector<CheckpointPiece> read_part(const std::string& path, std::int64_t step,
                                       const std::string& file) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw RuntimeError(fmt::format("{}: cannot be opened: the rank has not written it", path));
  }
  CheckpointIndex part = CheckpointIndex::parse({std::istreambuf_iterator<char>(stream), {}}, path);
  if (part.step != step) {
    throw RuntimeError(fmt::format("{}: is of step {}, expected {}", path, part.step, step));
  }
  for (const CheckpointPiece& piece : part.pieces) {
    if (piece.file != file) {
      throw RuntimeError(fmt::format("{}: tensor '{}' is in {}, expected {}", path, piece.tensor,
                                     piece.file, file));
    }
  }
  return std::move(part.pieces);
}

/// Remove the ranks' parts, and what a killed run with more ranks has left in the folder.
void remove_strangers(const std::string& folder, const std::set<std::string>& known) {
  std::vector<fs::path> strangers;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (!known.contains(entry->path().filename())) strangers.push_back(entry->path());
  }
  if (error) throw RuntimeError(fmt::format("{}: cannot be listed: {}", folder, error.message()));
  for (const fs::path& stranger : strangers) remove_folder(stranger);
}

bool is_valid(const std::string& path) {
  try {
    return Checkpoint(path).verify().empty();
  } catch (const DataError&) {
    return false;
  }
}

/// A checkpoint that has its name is complete, whatever fails now: readers list the folder and do
/// not need `latest`. Before an older checkpoint is removed the folder is flushed again.
void announce(const std::string& folder, std::int64_t step) {
  try {
    sync_folder(folder);
    point_latest(folder, checkpoint_name(step));
  } catch (const RuntimeError&) {
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder, std::int64_t step)
    : folder_(std::move(folder)),
      step_(step),
      path_(folder_ + "/" + checkpoint_name(step)),
      temporary_(path_ + ".tmp") {}

void CheckpointWriter::write_rank(int rank, const std::vector<PieceData>& pieces) const {
  std::error_code error;
  fs::create_directories(temporary_, error);
  if (error) {
    throw RuntimeError(fmt::format("{}: cannot be created: {}", temporary_, error.message()));
  }
  CheckpointIndex part{.step = step_};
  std::vector<NamedTensor> tensors;
  std::set<std::string> keys;
  const std::string file = rank_file_name(rank);
  const std::string path = temporary_ + "/" + file;
  for (const auto& [tensor, state, split, elements, data] : pieces) {
    if (elements.size() == 0) continue;
    const std::string key = state + "/" + tensor;
    if (elements.size() < 0 || data == nullptr || !keys.insert(key).second) {
      throw RuntimeError(fmt::format("{}: tensor '{}' ({}): {}", path, tensor, state,
                                     elements.size() < 0 || data == nullptr
                                         ? "there are no elements to write"
                                         : "is to be written twice by one rank"));
    }
    // A tensor that is only read from.
    const Tensor view = Tensor::view(const_cast<float*>(data), {elements.size()});
    part.pieces.push_back(
        {tensor, state, split, elements, file, key, XXH3_64bits(view.bytes(), view.nbytes())});
    tensors.push_back({key, view});
  }
  write_safetensors(path, tensors,
                    {{"format", "tributary-checkpoint"}, {"step", std::to_string(step_)}});
  write_file(temporary_ + "/" + part_file_name(rank), part.to_json());
}

std::string CheckpointWriter::commit(int ranks,
                                     const std::map<std::string, CheckpointTensor>& tensors,
                                     const std::string& training) const {
  const std::string index_path = fmt::format("{}/{}", temporary_, kIndexFile);
  try {
    CheckpointIndex index{.step = step_, .tensors = tensors, .training = training};
    std::set<std::string> files{kIndexFile};
    for (int rank = 0; rank < ranks; ++rank) {
      const std::string file = rank_file_name(rank);
      auto pieces = read_part(fmt::format("{}/{}", temporary_, part_file_name(rank)), step_, file);
      index.pieces.insert(index.pieces.end(), std::move_iterator(pieces.begin()),
                          std::move_iterator(pieces.end()));
      files.insert(file);
    }
    write_file(index_path, index.to_json());
    remove_strangers(temporary_, files);
    sync_folder(temporary_);
    const Checkpoint check(temporary_);
  } catch (const DataError& error) {
    throw RuntimeError(fmt::format("a checkpoint cannot be completed: {}", error.what()));
  }

  if (fs::exists(fs::symlink_status(path_))) {
    if (is_valid(path_)) {
      discard();
      announce(folder_, step_);
      return path_;
    }
    set_damaged_aside(path_);
  }
  rename_path(temporary_, path_);
  announce(folder_, step_);
  return path_;
}

void CheckpointWriter::discard() const {
  remove_folder(temporary_);
}

}  // namespace trib::io
