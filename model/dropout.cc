#include "model/dropout.h"

#include <vector>

#include "ops/base/random.h"
#include "ops/kernels/dropout.h"

namespace trib::model {

Dropout::Dropout(const std::string& place, double rate, double path_rate)
    : elements_name_("dropout." + place),
      paths_name_("drop_path." + place),
      rate_(rate),
      path_rate_(path_rate) {}

const float* Dropout::apply(const DropKeys* keys, float* y_nd, const float* x_nd, Range rows,
                            std::int64_t tokens, std::int64_t dim) const {
  if (keys == nullptr || (rate_ == 0 && path_rate_ == 0)) return x_nd;
  const RandomStream elements(keys->seed, elements_name_);
  const RandomStream paths(keys->seed, paths_name_);
  const auto path_scale = static_cast<float>(1 / (1 - path_rate_));
  thread_local std::vector<ops::SampleDropout> samples;  // kept from call to call
  samples.clear();
  for (const std::uint64_t key : keys->sample_keys) {
    const bool is_kept = path_rate_ == 0 || paths.uniform(key) >= path_rate_;
    samples.push_back({elements.substream(key), is_kept ? path_scale : 0});
  }
  ops::dropout(y_nd, x_nd, rows.begin, rows.end, tokens, dim, rate_, samples);
  return y_nd;
}

}  // namespace trib::model
