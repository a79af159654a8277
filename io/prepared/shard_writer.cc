#include "io/prepared/shard_writer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include "io/pending_file.h"
#include "io/prepared/half.h"
#include "io/prepared/npy.h"
#include "ops/base/error.h"

namespace trib::io {
namespace {

/// A zstd frame that holds the header as it is (RFC 8878: a raw block), so that its length does not
/// depend on the number in it.
std::string header_frame(const std::string& header) {
  const auto size = static_cast<std::uint32_t>(header.size());
  const std::uint32_t block = 1U | size << 3U;  // last block, raw
  std::string frame("\x28\xB5\x2F\xFD", 4);
  frame += '\x20';  // single segment: the next byte is the content's size
  frame += static_cast<char>(size);
  for (int shift = 0; shift < 24; shift += 8) frame += static_cast<char>(block >> shift & 0xFFU);
  frame += header;
  if (std::ssize(frame) != kNpyFrameBytes) throw RuntimeError("the header's frame is miscounted");
  return frame;
}

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

std::vector<std::byte> compressed(const std::vector<std::byte>& plain, int level) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  std::vector<std::byte> out(ZSTD_compressBound(plain.size()));
  const std::size_t size =
      ZSTD_compressCCtx(context.get(), out.data(), out.size(), plain.data(), plain.size(), level);
  if (ZSTD_isError(size) != 0) {
    throw RuntimeError(fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  }
  out.resize(size);
  return out;
}

void encode_half(const float* values, std::int64_t count, const Channel& channel,
                 const SampleRecord& record, std::byte* out) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < count; ++i) {
    const float size = std::abs(values[i]);
    largest = size > largest && size < kInfinity ? size : largest;
  }
  if (largest > kLargestHalf) {
    throw DataError(fmt::format(
        "{}: channel '{}' has the value {} (without its sign), and the largest of float16 is {}; "
        "prepare float32, or normalize first",
        record.provenance.file, channel.name, largest, kLargestHalf));
  }
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  for (std::int64_t i = 0; i < count; ++i) halves[i] = half_of(values[i]);
}

/// The planes of one array as they are stored before compression; sums and moments are appended.
std::vector<std::byte> stored_planes(const PreparedLayout& layout,
                                     const std::vector<Channel>& channels, const float* values,
                                     EncodedSample& sample) {
  const std::int64_t pixels = layout.plane_values();
  const auto plane_bytes = static_cast<std::size_t>(layout.plane_bytes());
  std::vector<std::byte> stored(channels.size() * plane_bytes);
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const float* plane = values + static_cast<std::int64_t>(c) * pixels;
    std::byte* out = stored.data() + c * plane_bytes;
    if (layout.type == PreparedType::f32) {
      std::memcpy(out, plane, plane_bytes);
    } else {
      encode_half(plane, pixels, channels[c], sample.record, out);
    }
    sample.sums.push_back(XXH3_64bits(out, plane_bytes));
    sample.moments.push_back(moments_of(plane, pixels));
  }
  return layout.is_compressed() ? compressed(stored, layout.zstd_level) : stored;
}

}  // namespace

EncodedSample encode_sample(const PreparedLayout& layout, SampleRecord record, const float* x_cyx,
                            const float* target_vyx) {
  EncodedSample sample;
  sample.record = std::move(record);
  if (!layout.channels.empty()) sample.x = stored_planes(layout, layout.channels, x_cyx, sample);
  if (!layout.targets.empty()) {
    sample.target = stored_planes(layout, layout.targets, target_vyx, sample);
  }
  return sample;
}

/// A file of samples behind an .npy header, with the checksum of all that is written.
class ShardWriter::File {
 public:
  File(const std::string& folder, std::string name, const PreparedLayout& layout,
       std::int64_t planes, std::int64_t expected_samples)
      : layout_(layout),
        planes_(planes),
        expected_samples_(expected_samples),
        path_(folder + "/" + name),
        file_(path_),
        state_(XXH3_createState()) {
    written_.name = std::move(name);
    XXH3_64bits_reset(state_.get());
    if (!layout.is_compressed()) {
      file_.reserve(static_cast<std::size_t>(kNpyHeaderBytes +
                                             expected_samples * planes * layout.plane_bytes()));
    }
    write(start(expected_samples));
  }

  void append(const std::vector<std::byte>& sample) {
    write({reinterpret_cast<const char*>(sample.data()), sample.size()});
    if (layout_.is_compressed()) written_.frames.push_back(std::ssize(sample));
    ++samples_;
  }

  ShardFile commit() {
    if (samples_ != expected_samples_) {
      const std::string header = start(samples_);
      file_.overwrite(0, header.data(), header.size());
    }
    file_.commit();
    // What was added up is the checksum of a file with another header.
    written_.xxh3 = samples_ == expected_samples_
                        ? fmt::format("{:016x}", XXH3_64bits_digest(state_.get()))
                        : xxh3_of_file(path_);
    return written_;
  }

 private:
  std::string start(std::int64_t samples) const {
    const std::array<std::int64_t, 4> shape{samples, planes_, layout_.extent.height,
                                            layout_.extent.width};
    const std::string header = npy_header(layout_.type == PreparedType::f32 ? "<f4" : "<f2", shape);
    return layout_.is_compressed() ? header_frame(header) : header;
  }

  void write(std::string_view bytes) {
    file_.write(bytes.data(), bytes.size());
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
    written_.bytes += std::ssize(bytes);
  }

  struct FreeState {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };

  const PreparedLayout& layout_;
  std::int64_t planes_, expected_samples_, samples_ = 0;
  std::string path_;
  PendingFile file_;
  std::unique_ptr<XXH3_state_t, FreeState> state_;
  ShardFile written_;
};

ShardWriter::ShardWriter(const std::string& folder, std::int64_t shard,
                         const PreparedLayout& layout, std::int64_t expected_samples)
    : folder_(folder), layout_(layout), expected_samples_(expected_samples) {
  record_.shard = shard;
  record_.moments.resize(static_cast<std::size_t>(layout.num_planes()));
  const char* ending = layout.is_compressed() ? ".npy.zst" : ".npy";
  const auto open = [&](const char* what, std::int64_t planes) -> std::unique_ptr<File> {
    if (planes == 0) return nullptr;
    return std::make_unique<File>(folder, shard_file_name(what, shard, ending), layout, planes,
                                  expected_samples);
  };
  x_ = open("x", layout.num_channels());
  target_ = open("target", layout.num_targets());
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::append(EncodedSample sample) {
  if (x_ != nullptr) x_->append(sample.x);
  if (target_ != nullptr) target_->append(sample.target);
  sums_.insert(sums_.end(), sample.sums.begin(), sample.sums.end());
  for (std::size_t p = 0; p < record_.moments.size(); ++p) {
    record_.moments[p].merge(sample.moments[p]);
  }
  record_.samples.push_back(std::move(sample.record));
}

void ShardWriter::skip(SkippedRecord skipped) {
  record_.skipped.push_back(std::move(skipped));
}

ShardEntry ShardWriter::commit() {
  if (x_ != nullptr) record_.x = x_->commit();
  if (target_ != nullptr) record_.target = target_->commit();

  const std::array<std::int64_t, 2> shape{std::ssize(record_.samples), layout_.num_planes()};
  std::string sums = npy_header("<u8", shape);
  sums.append(reinterpret_cast<const char*>(sums_.data()), sums_.size() * sizeof sums_[0]);
  record_.sums = {shard_file_name("sums", record_.shard, ".npy"),
                  std::ssize(sums),
                  xxh3_text(sums.data(), sums.size()),
                  {}};
  write_file(folder_ + "/" + record_.sums.name, sums);

  const std::string text = record_.to_json();
  write_file(folder_ + "/" + shard_file_name("shard", record_.shard, ".json"), text);
  return {std::ssize(record_.samples), record_.x.bytes + record_.target.bytes + record_.sums.bytes,
          xxh3_text(text.data(), text.size())};
}

std::optional<ShardEntry> find_shard(const std::string& folder, std::int64_t shard,
                                     const PreparedLayout& layout) {
  namespace fs = std::filesystem;
  const std::string path = folder + "/" + shard_file_name("shard", shard, ".json");
  if (!fs::exists(path)) return {};
  const std::string text = read_text_file(path);
  const ShardRecord record = ShardRecord::from_json(text, path, layout);
  for (const ShardFile* file : {&record.x, &record.target, &record.sums}) {
    if (file->name.empty()) continue;
    std::error_code error;
    const auto bytes = fs::file_size(folder + "/" + file->name, error);
    if (error || bytes != static_cast<std::uintmax_t>(file->bytes)) {
      throw DataError(fmt::format("{}/{}: {}, expected {} bytes", folder, file->name,
                                  error ? error.message() : fmt::format("{} bytes", bytes),
                                  file->bytes));
    }
  }
  return ShardEntry{std::ssize(record.samples),
                    record.x.bytes + record.target.bytes + record.sums.bytes,
                    xxh3_text(text.data(), text.size())};
}

}  // namespace trib::io
