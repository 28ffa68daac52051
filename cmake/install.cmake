# cmake --install: a tree that works wherever it is moved to, since its parts find each other by their place in it. The libraries
# that the binary was linked with stay where they are.
#   bin/moesaic
#   share/moesaic/             the demo model for `moesaic selftest`
#   share/moesaic/slurm/       batch scripts; a site's site.sh belongs beside them
#   share/moesaic/launch/env   what Open MPI needs on one machine
#   share/modulefiles/moesaic/VERSION
#   share/doc/moesaic/
include(GNUInstallDirs)

set(shared ${CMAKE_INSTALL_DATAROOTDIR}/moesaic)
install(TARGETS moesaic RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/share/moesaic/ DESTINATION ${shared})
install(DIRECTORY slurm/ DESTINATION ${shared}/slurm USE_SOURCE_PERMISSIONS
  FILES_MATCHING PATTERN "*.sbatch" PATTERN "job.sh" PATTERN "resume.sh" PATTERN "site.sh.example")
install(PROGRAMS launch/env launch/chat DESTINATION ${shared}/launch)
configure_file(launch/packages/modulefile.in ${PROJECT_BINARY_DIR}/modulefile @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/modulefile DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/modulefiles/moesaic
  RENAME ${PROJECT_VERSION})
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/moesaic)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/moesaic)
