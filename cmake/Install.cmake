# cmake --install: program, libraries, headers, graphs and the package Tributary::tributary.

include(CMakePackageConfigHelpers)

add_library(tributary INTERFACE)
add_library(Tributary::tributary ALIAS tributary)
target_link_libraries(tributary INTERFACE
  tributary_pipeline tributary_model tributary_io tributary_ops)

install(TARGETS tributary tributary_ops tributary_io tributary_model tributary_pipeline
  EXPORT TributaryTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS trib RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(room ops io model pipeline)
  install(DIRECTORY ${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tributary
    FILES_MATCHING PATTERN "*.h"
    # Parts of a source file.
    PATTERN "*.inc.h" EXCLUDE
    # Internal; they need headers of other libraries.
    PATTERN communication_thread.h EXCLUDE
    PATTERN operation.h EXCLUDE
    PATTERN watchdog.h EXCLUDE
    PATTERN value_json.h EXCLUDE)
endforeach()
install(DIRECTORY graphs DESTINATION ${CMAKE_INSTALL_DATADIR}/tributary)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Tributary)
install(EXPORT TributaryTargets NAMESPACE Tributary:: DESTINATION ${config_dir})
configure_package_config_file(cmake/TributaryConfig.cmake.in TributaryConfig.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(TributaryConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/TributaryConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/TributaryConfigVersion.cmake
  cmake/Dependencies.cmake
  DESTINATION ${config_dir})
