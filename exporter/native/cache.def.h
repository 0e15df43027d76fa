/* The flow cache. Declarations only: read by cc and cffi. */
