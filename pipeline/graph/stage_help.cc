#include "pipeline/graph/stage_help.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trib::pipeline {
namespace {

std::string inputs_sentence(StageDeclaration::Inputs inputs) {
  switch (inputs) {
    case StageDeclaration::Inputs::none:
      return "Takes no input.";
    case StageDeclaration::Inputs::one:
      return "Takes one input.";
    case StageDeclaration::Inputs::many:
      return "Takes one or more inputs.";
  }
  return {};
}

/// "an integer of at least 1, in pixels".
std::string kind_of(const ParameterSpec& spec) {
  const bool says_unit = spec.unit.empty() || spec.type == ParameterType::bytes;
  return says_unit ? spec.expectation() : spec.expectation() + ", in " + spec.unit;
}

/// "default 4", "required", "optional"; the default's text between `mark`s.
std::string presence(const ParameterSpec& spec, const std::string& mark) {
  if (spec.default_text) {
    const bool empty = spec.default_text->empty();
    return "default " + mark + (empty ? "\"\"" : *spec.default_text) + mark;
  }
  return spec.required ? "required" : "optional";
}

}  // namespace

std::string stage_table(const StageCatalog& catalog) {
  std::size_t width = 0;
  for (const StageDeclaration* stage : catalog.all()) width = std::max(width, stage->type.size());
  std::string text;
  for (const StageDeclaration* stage : catalog.all()) {
    text += fmt::format("{:<{}}  {}\n", stage->type, width, stage->summary);
  }
  return text;
}

std::string stage_options(const StageDeclaration& stage) {
  std::string text =
      fmt::format("{}: {}\n{}\n", stage.type, stage.summary, inputs_sentence(stage.inputs));
  if (!stage.former_types.empty()) {
    text += fmt::format("Formerly {}.\n", fmt::join(stage.former_types, ", "));
  }
  if (stage.parameters.empty()) return text + "No parameters.\n";
  for (const ParameterSpec& spec : stage.parameters) {
    text += fmt::format("\n{}\n    {}\n    {} [{}]\n", spec.name, spec.sentence, kind_of(spec),
                        presence(spec, ""));
    if (!spec.former_names.empty()) {
      text += fmt::format("    Formerly {}.\n", fmt::join(spec.former_names, ", "));
    }
  }
  return text;
}

std::string stage_markdown(const StageDeclaration& stage) {
  std::string text = fmt::format("**{}**\n\n{}\n", stage.summary, inputs_sentence(stage.inputs));
  if (!stage.former_types.empty()) {
    text += fmt::format("Formerly `{}`.\n", fmt::join(stage.former_types, "`, `"));
  }
  text += "\n## Parameters\n\n";
  if (stage.parameters.empty()) return text + "None.\n";
  for (const ParameterSpec& spec : stage.parameters) {
    std::string note;
    if (!spec.former_names.empty()) {
      note = fmt::format(" Formerly `{}`.", fmt::join(spec.former_names, "`, `"));
    }
    text += fmt::format("- `{}`: {} *{}* [{}]{}\n", spec.name, spec.sentence, kind_of(spec),
                        presence(spec, "`"), note);
  }
  return text;
}

}  // namespace trib::pipeline
