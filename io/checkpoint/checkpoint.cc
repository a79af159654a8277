#include "io/checkpoint/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "io/checkpoint/checkpoint_folder.h"
#include "io/checkpoint/split_runs.h"
#include "io/safetensors.h"
#include "ops/base/error.h"
#include "ops/base/parallel.h"

namespace trib::io {
namespace {

CheckpointIndex read_index(const std::string& folder) {
  const std::string path = fmt::format("{}/{}", folder, kIndexFile);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw DataError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  CheckpointIndex index = CheckpointIndex::from_json(text, path);
  const auto step = step_of(std::filesystem::path(folder).filename().string());
  if (step && *step != index.step) {
    throw DataError(fmt::format("{}: is of step {}, expected {}", path, index.step, *step));
  }
  return index;
}

std::string place_of(const SafetensorsFile& file, const CheckpointPiece& piece) {
  return fmt::format("{}: {} ({})", file.path(), piece.tensor, piece.state);
}

/// Find a piece in its file, with as many elements as the index says.
const SafetensorsFile::Entry& find_piece(const SafetensorsFile& file,
                                         const CheckpointPiece& piece) {
  if (!file.contains(piece.key)) {
    throw DataError(fmt::format("{}: the file has no key '{}'", place_of(file, piece), piece.key));
  }
  const SafetensorsFile::Entry& entry = file.entry(piece.key);
  if (entry.dtype != DType::f32 || entry.shape.numel() != piece.elements.size()) {
    throw DataError(fmt::format("{}: the file holds {} {}, expected {} elements f32",
                                place_of(file, piece), name_of(entry.dtype),
                                entry.shape.to_string(), piece.elements.size()));
  }
  return entry;
}

/// Read a piece and compare its checksum.
void read_piece(const SafetensorsFile& file, const CheckpointPiece& piece, float* to) {
  Tensor tensor = Tensor::view(to, find_piece(file, piece).shape);
  file.read_into(piece.key, tensor);
  const std::uint64_t found = XXH3_64bits(tensor.bytes(), tensor.nbytes());
  if (found != piece.checksum) {
    throw DataError(fmt::format("{}: checksum {:016x} expected, {:016x} found",
                                place_of(file, piece), piece.checksum, found));
  }
}

}  // namespace

/// What has been opened, and which pieces make up which state.
struct Checkpoint::Files {
  // Well below the number of files a process may have open.
  static constexpr std::size_t kMaxOpen = 256;

  const SafetensorsFile& open(const std::string& path) {
    auto found = open_files.find(path);
    if (found == open_files.end()) {
      if (open_files.size() >= kMaxOpen) open_files.clear();
      found = open_files.emplace(path, std::make_unique<SafetensorsFile>(path)).first;
    }
    return *found->second;
  }

  std::map<std::string, std::unique_ptr<SafetensorsFile>> open_files;
  std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> states;
};

Checkpoint::Checkpoint(const std::string& path)
    : path_(path), index_(read_index(path)), files_(std::make_unique<Files>()) {
  for (std::size_t i = 0; i < index_.pieces.size(); ++i) {
    const CheckpointPiece& piece = index_.pieces[i];
    find_piece(files_->open(path_ + "/" + piece.file), piece);
    if (piece.elements.size() > 0) files_->states[{piece.tensor, piece.state}].push_back(i);
  }
}

Checkpoint::~Checkpoint() = default;

bool Checkpoint::contains(const std::string& tensor, const std::string& state) const {
  return files_->states.contains({tensor, state});
}

std::vector<std::string> Checkpoint::verify() const {
  std::map<std::string, std::vector<std::size_t>> by_file;
  for (std::size_t i = 0; i < index_.pieces.size(); ++i) {
    by_file[index_.pieces[i].file].push_back(i);
  }
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> files(by_file.begin(),
                                                                            by_file.end());
  std::vector<std::string> messages(index_.pieces.size());
  const auto verify_file = [&](const std::string& name, const std::vector<std::size_t>& pieces) {
    const SafetensorsFile file(path_ + "/" + name);
    for (const std::size_t i : pieces) {
      const CheckpointPiece& piece = index_.pieces[i];
      try {
        Tensor data = Tensor::empty({piece.elements.size()}, DType::f32, MemoryKind::workspace);
        read_piece(file, piece, data.data<float>());
      } catch (const DataError& error) {
        messages[i] = error.what();
      }
    }
  };
  parallel_for(std::ssize(files), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const auto& [name, pieces] = files[i];
      try {
        verify_file(name, pieces);
      } catch (const DataError& error) {  // it has been damaged since it was opened
        messages[pieces.front()] = error.what();
      }
    }
  });
  std::erase_if(messages, [](const std::string& message) { return message.empty(); });
  return messages;
}

void Checkpoint::read(const std::string& tensor, const std::string& state, const TensorSplit& split,
                      const Range& elements, float* to) const {
  const std::string place = fmt::format("{}: tensor '{}' ({})", path_, tensor, state);
  const auto found = index_.tensors.find(tensor);
  if (found == index_.tensors.end() || !contains(tensor, state)) {
    throw DataError(fmt::format("{}: is not in the checkpoint", place));
  }
  const Shape& shape = found->second.shape;
  const std::string error = split_error(shape, split);
  if (!error.empty()) throw DataError(fmt::format("{}: {} cannot be read", place, error));
  const std::int64_t count = local_shape(shape, split).numel();
  if (elements.begin < 0 || elements.end < elements.begin || elements.end > count) {
    throw DataError(fmt::format("{}: elements {}..{} of a part of {} cannot be read", place,
                                elements.begin, elements.end, count));
  }

  const auto take = [&](std::vector<SplitRun>& needed, const std::vector<SplitRun>& offered,
                        const CheckpointPiece& piece) {
    const std::vector<RunCopy> copies = take_runs(needed, offered);
    if (copies.empty()) return;
    const SafetensorsFile& file = files_->open(path_ + "/" + piece.file);
    const std::int64_t size = piece.elements.size();
    if (copies.size() == 1 && copies.front().count == size) {
      read_piece(file, piece, to + (copies.front().to - elements.begin));
      return;
    }
    Tensor buffer = Tensor::empty({size}, DType::f32, MemoryKind::workspace);
    const float* data = buffer.data<float>();
    read_piece(file, piece, buffer.data<float>());
    for (const RunCopy& copy : copies) {
      std::copy_n(data + (copy.from - piece.elements.begin), copy.count,
                  to + (copy.to - elements.begin));
    }
  };

  // Pieces of the same part hold its elements in the same order: they meet within the part.
  const auto& pieces = files_->states.at({tensor, state});
  const TensorSplit wanted = canonical_split(shape, split);
  std::vector<SplitRun> needed;
  if (elements.size() > 0) needed.push_back({elements.begin, elements.begin, elements.size()});
  std::vector<const CheckpointPiece*> others;
  for (const std::size_t i : pieces) {
    const CheckpointPiece& piece = index_.pieces[i];
    if (same_split(canonical_split(shape, piece.split), wanted)) {
      take(needed, {{piece.elements.begin, piece.elements.begin, piece.elements.size()}}, piece);
    } else {
      others.push_back(&piece);
    }
  }
  if (needed.empty()) return;

  // The others meet it in the whole tensor.
  std::vector<Range> missing;
  for (const SplitRun& run : needed) missing.push_back({run.local, run.local + run.count});
  needed = runs_of(shape, split, join_ranges(std::move(missing)));
  for (const CheckpointPiece* piece : others) {
    if (needed.empty()) return;
    take(needed, runs_of(shape, piece->split, join_ranges({piece->elements})), *piece);
  }
  if (!needed.empty()) {
    throw DataError(fmt::format("{}: element {} of {} is in no piece", place, needed.front().global,
                                shape.to_string()));
  }
}

Tensor Checkpoint::read_whole(const std::string& tensor, const std::string& state) const {
  if (!contains(tensor, state)) {
    throw DataError(
        fmt::format("{}: tensor '{}' ({}): is not in the checkpoint", path_, tensor, state));
  }
  const Shape& shape = index_.tensors.at(tensor).shape;
  Tensor whole = Tensor::empty(shape);
  read(tensor, state, {}, {0, shape.numel()}, whole.data<float>());
  return whole;
}

}  // namespace trib::io
