#include "pipeline/checkpoint/weights_source.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include "ops/base/error.h"

namespace trib::pipeline {
namespace {

namespace fs = std::filesystem;

std::int64_t grid_width_of(const io::SafetensorsFile& file, const std::string& tensor) {
  const auto found = file.metadata().find(kGridWidthKey + tensor);
  if (found == file.metadata().end()) return 0;
  const std::string& text = found->second;
  std::int64_t width = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), width);
  if (error != std::errc() || end != text.data() + text.size() || width < 1) {
    throw DataError(fmt::format("{}: metadata '{}' is '{}', expected the tokens in a row",
                                file.path(), found->first, text));
  }
  return width;
}

}  // namespace

bool is_weights_file(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

std::vector<std::string> find_checkpoints(const std::string& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw DataError(fmt::format("{}: there is no such {}", folder,
                                folder.ends_with(".safetensors") ? "file" : "file or folder"));
  }
  const fs::path path = fs::path(folder).lexically_normal();
  if (fs::exists(path / "index.json", ignored)) return {path.string()};
  std::vector<std::string> found = io::list_checkpoints(path.string());
  if (found.empty()) found = io::list_checkpoints((path / "checkpoints").string());
  if (!found.empty()) return found;
  throw DataError(fmt::format(
      "{}: is no checkpoint (it has no index.json), and holds no checkpoints step-N, nor does its "
      "folder 'checkpoints'",
      folder));
}

WeightsSource::WeightsSource(const std::string& path) : path_(path) {
  if (is_weights_file(path)) {
    file_ = std::make_unique<io::SafetensorsFile>(path);
    for (const auto& entry : file_->entries()) {
      tensors_[entry.name] = {entry.shape, entry.dtype, grid_width_of(*file_, entry.name)};
    }
    return;
  }
  path_ = find_checkpoints(path).front();
  checkpoint_ = std::make_unique<io::Checkpoint>(path_);
  for (const auto& [name, tensor] : checkpoint_->index().tensors) {
    tensors_[name] = {tensor.shape, tensor.dtype, tensor.grid_width};
  }
}

void WeightsSource::read(const std::string& name, const TensorSplit& split, const Range& elements,
                         float* to) const {
  if (checkpoint_) {
    checkpoint_->read(name, io::kValueState, split, elements, to);
  } else {
    copy_part(read_whole(name), split, elements, to);
  }
}

Tensor WeightsSource::read_whole(const std::string& name) const {
  if (checkpoint_) return checkpoint_->read_whole(name, io::kValueState);
  if (const DType dtype = file_->entry(name).dtype; dtype != DType::f32) {
    throw DataError(
        fmt::format("{}: tensor '{}' is {}, expected f32", path_, name, name_of(dtype)));
  }
  return file_->read(name, MemoryKind::checkpoint);
}

void copy_part(const Tensor& whole, const TensorSplit& split, const Range& elements, float* to) {
  const float* from = whole.data<float>();
  for_each_run(whole.shape(), split,
               [&](std::int64_t local, std::int64_t global, std::int64_t count) {
                 const std::int64_t begin = std::max(local, elements.begin);
                 const std::int64_t end = std::min(local + count, elements.end);
                 if (begin >= end) return;
                 std::copy(from + global + begin - local, from + global + end - local,
                           to + begin - elements.begin);
               });
}

}  // namespace trib::pipeline
