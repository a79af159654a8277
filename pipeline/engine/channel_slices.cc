#include "pipeline/engine/channel_slices.h"

#include <algorithm>

namespace trib::pipeline {
namespace {

using Names = std::vector<std::string>;

bool has(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Names without(const Names& names, const Names& taken) {
  Names rest;
  for (const std::string& name : names) {
    if (!has(taken, name)) rest.push_back(name);
  }
  return rest;
}

void append(Names& to, const Names& from, Range range) {
  to.insert(to.end(), from.begin() + range.begin, from.begin() + range.end);
}

}  // namespace

ChannelNames own_names(const std::vector<const StreamInfo*>& ends) {
  const model::Division& division = ends.front()->division;
  ChannelNames own;
  Names channels, targets;  // of all ends so far
  for (const StreamInfo* end : ends) {
    const Names more = without(end->channel_names(), channels);
    if (end == ends.front()) division.check(std::ssize(more));
    append(own.channels, more,
           end == ends.front() ? division.own_channels(std::ssize(more))
                               : division.own_share(std::ssize(more)));
    append(channels, more, {0, std::ssize(more)});
    const Names more_targets = without(end->target_names(), targets);
    append(targets, more_targets, {0, std::ssize(more_targets)});
  }
  for (const std::int64_t t : model::own_targets(targets, channels, own.channels, division)) {
    own.targets.push_back(targets[static_cast<std::size_t>(t)]);
  }
  return own;
}

}  // namespace trib::pipeline
