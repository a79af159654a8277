// "Did you mean": the known word nearest to a misspelt one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace trib::pipeline {

/// Count the insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`
/// (Damerau-Levenshtein, optimal string alignment), upper and lower case alike.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// Find the candidate nearest to `word`, empty if none is near. A candidate is also near if it is
/// `word` behind a prefix: "encoder" for "model.encoder".
std::string closest(std::string_view word, std::span<const std::string> candidates);

/// "; did you mean 'patch'?", or nothing if no candidate is near.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace trib::pipeline
