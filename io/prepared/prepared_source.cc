#include "io/prepared/prepared_source.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/channel_selection.h"
#include "io/kept_channels.h"
#include "ops/base/error.h"

namespace trib::io {

PreparedSource::PreparedSource(const PreparedOptions& options) : folder_(options.path) {
  const std::string path = folder_ + "/" + kIndexName;
  index_ = PreparedIndex::from_json(read_text_file(path), path);
  if (index_.samples() == 0) throw DataError(fmt::format("{}: holds no sample", path));
  first_sample_ = {0};
  for (const ShardEntry& entry : index_.shards) {
    first_sample_.push_back(first_sample_.back() + entry.samples);
  }
  shards_ = std::make_unique<Slot[]>(index_.shards.size());
  select(x_, index_.head.layout.channels, options.channels);
  select(target_, index_.head.layout.targets, options.targets);
}

void PreparedSource::select(Selection& selection, const std::vector<Channel>& available,
                            const std::vector<std::string>& wanted) const {
  if (available.empty() && wanted.empty()) return;
  selection.planes = select_channels(available, wanted, folder_);
  selection.channels = elements_at(selection.planes, available);
  find_runs(selection);
}

// Planes in another order than that of the files are runs of one.
void PreparedSource::find_runs(Selection& selection) {
  selection.runs.clear();
  for (const std::int64_t plane : selection.planes) {
    if (!selection.runs.empty() && selection.runs.back().end == plane) {
      ++selection.runs.back().end;
    } else {
      selection.runs.push_back({plane, plane + 1});
    }
  }
}

void PreparedSource::keep(Selection& selection, std::span<const std::int64_t> kept) {
  check_kept_channels(kept, selection.channels.size());
  selection.channels = elements_at(kept, selection.channels);
  selection.planes = elements_at(kept, selection.planes);
  find_runs(selection);
}

PreparedSource::Place PreparedSource::place(std::int64_t index) const {
  const auto after = std::upper_bound(first_sample_.begin(), first_sample_.end(), index);
  const std::int64_t shard = after - first_sample_.begin() - 1;
  return {shard, index - first_sample_[static_cast<std::size_t>(shard)]};
}

// No std::call_once: exceptions in it are not well supported, and damaged shards throw again and
// again.
const PreparedShard& PreparedSource::shard(std::int64_t number) const {
  Slot& slot = shards_[static_cast<std::size_t>(number)];
  const std::lock_guard lock(slot.mutex);
  if (slot.shard == nullptr) {
    const ShardEntry& entry = index_.shards[static_cast<std::size_t>(number)];
    auto opened = std::make_unique<const PreparedShard>(folder_, number, index_.head.layout, entry);
    if (std::ssize(opened->record().samples) != entry.samples) {
      throw DataError(fmt::format("{}/{}: {} samples, and the index expects {}", folder_,
                                  shard_file_name("shard", number, ".json"),
                                  opened->record().samples.size(), entry.samples));
    }
    slot.shard = std::move(opened);
  }
  return *slot.shard;
}

Provenance PreparedSource::provenance(std::int64_t index) const {
  const Place at = place(index);
  return shard(at.shard).record().samples[static_cast<std::size_t>(at.sample)].provenance;
}

float PreparedSource::lead_hours(std::int64_t index) const {
  const Place at = place(index);
  return shard(at.shard).record().samples[static_cast<std::size_t>(at.sample)].lead_hours;
}

std::string PreparedSource::describe(std::int64_t index) const {
  const Place at = place(index);
  return fmt::format("{}, shard {}, sample {}", folder_, at.shard, at.sample);
}

Provenance PreparedSource::read_into(std::int64_t index, const std::optional<Window>& window,
                                     const PixelTarget& target) const {
  const Window part = checked_window(index, window);
  const Place at = place(index);
  const PreparedShard& from = shard(at.shard);
  from.read_x({at.sample, &x_.runs, part, target});
  bytes_decoded_ +=
      std::ssize(x_.planes) * part.height * part.width * index_.head.layout.value_bytes();
  Provenance provenance = from.record().samples[static_cast<std::size_t>(at.sample)].provenance;
  provenance.window = {provenance.window.y + part.y, provenance.window.x + part.x, part.height,
                       part.width};
  return provenance;
}

void PreparedSource::read_target_into(std::int64_t index, const PixelTarget& target) const {
  const Extent extent = index_.head.layout.extent;
  const Place at = place(index);
  shard(at.shard).read_target(
      {at.sample, &target_.runs, {0, 0, extent.height, extent.width}, target});
  bytes_decoded_ += std::ssize(target_.planes) * index_.head.layout.plane_bytes();
}

namespace {

/// Checksums of the files as they are, then of each plane of each sample as a reader gets it.
void verify_shard(const std::string& folder, std::int64_t number, const PreparedIndex& index) {
  const PreparedLayout& layout = index.head.layout;
  const PreparedShard shard(folder, number, layout, index.shards[static_cast<std::size_t>(number)]);
  for (const ShardFile* file : {&shard.record().x, &shard.record().target}) {
    if (file->name.empty()) continue;
    const std::string path = folder + "/" + file->name;
    if (const std::string found = xxh3_of_file(path); found != file->xxh3) {
      throw DataError(fmt::format("{}: its checksum is {}, expected {}", path, found, file->xxh3));
    }
  }
  const std::vector<Range> x{{0, layout.num_channels()}}, target{{0, layout.num_targets()}};
  std::vector<float> values(static_cast<std::size_t>(
      std::max(layout.num_channels(), layout.num_targets()) * layout.plane_values()));
  const Window whole{0, 0, layout.extent.height, layout.extent.width};
  for (std::int64_t s = 0; s < std::ssize(shard.record().samples); ++s) {
    if (layout.num_channels() > 0) shard.read_x({s, &x, whole, {values.data()}});
    if (layout.num_targets() > 0) shard.read_target({s, &target, whole, {values.data()}});
  }
}

}  // namespace

std::vector<std::string> verify_prepared(const std::string& folder) {
  const std::string path = folder + "/" + kIndexName;
  const PreparedIndex index = PreparedIndex::from_json(read_text_file(path), path);
  std::vector<std::string> damages;
  for (std::int64_t number = 0; number < std::ssize(index.shards); ++number) {
    try {
      verify_shard(folder, number, index);
    } catch (const DataError& error) {
      damages.emplace_back(error.what());
    }
  }
  return damages;
}

}  // namespace trib::io
