# Installation (`cmake --install build/release --prefix DIR`), for find_package(quantlinear) and
# pkg-config, and `quantlinear_verify_interface_header_sets`, which compiles every public header alone.
option(QUANTLINEAR_INSTALL "Generate the install target" ${PROJECT_IS_TOP_LEVEL})

file(GLOB public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/quantlinear/*.hpp)
target_sources(quantlinear PUBLIC
  FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${public_headers})
set_target_properties(quantlinear PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)

if(QUANTLINEAR_INSTALL)
  include(GNUInstallDirs)
  include(CMakePackageConfigHelpers)
  set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quantlinear)

  install(TARGETS quantlinear EXPORT quantlinearTargets FILE_SET HEADERS)
  install(FILES include/quantlinear/quant_types.def DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quantlinear)
  install(EXPORT quantlinearTargets NAMESPACE quantlinear:: DESTINATION ${config_dir})

  configure_package_config_file(cmake/quantlinearConfig.cmake.in ${PROJECT_BINARY_DIR}/quantlinearConfig.cmake
    INSTALL_DESTINATION ${config_dir})
  # Before 1.0 a minor version may change the interface.
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/quantlinearConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/quantlinearConfig.cmake ${PROJECT_BINARY_DIR}/quantlinearConfigVersion.cmake
    DESTINATION ${config_dir})

  # The .pc file finds its prefix from its own place, so the installed tree can be moved.
  set(pkgconfig_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${pkgconfig_dir} OUTPUT_VARIABLE prefix_from_pc)
  configure_file(cmake/quantlinear.pc.in ${PROJECT_BINARY_DIR}/quantlinear.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/quantlinear.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
