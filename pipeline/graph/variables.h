// Variables: ${name} and ${env:NAME,default} in the values of a graph definition.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/diagnostics.h"
#include "pipeline/graph/document.h"

namespace trib::pipeline {

/// Puts the values of variables in place. A scalar that is nothing but "${name}" becomes the
/// variable's value, lists included; inside longer text the variable must be a scalar. Variables
/// may use other variables and the environment. "$${" stands for "${" itself.
class Variables {
 public:
  /// `vars` is the mapping of that name, null if there is none. It must outlive this object.
  Variables(const DocumentValue* vars, Diagnostics& diagnostics);

  /// Copy `value` with all variables replaced. Problems are reported for `node` and leave a value
  /// marked as broken.
  DocumentValue resolve(const DocumentValue& value, const std::string& node = "");

  /// Resolve each variable, used or not, so that its mistakes are found.
  void check_all();

 private:
  DocumentValue resolve_scalar(const DocumentValue& value, const std::string& node);
  /// The value of the expression between "${" and "}".
  DocumentValue evaluate(std::string_view expression, const DocumentValue& user,
                         const std::string& node);
  DocumentValue environment(std::string_view expression, const DocumentValue& user,
                            const std::string& node);
  const DocumentValue& variable(const std::string& name);

  const DocumentValue* vars_;
  Diagnostics& diagnostics_;
  std::map<std::string, DocumentValue> resolved_;
  std::vector<std::string> in_progress_;
};

}  // namespace trib::pipeline
