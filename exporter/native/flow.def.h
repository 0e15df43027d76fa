/* Flow keys as bytes. Declarations only: read by cc and cffi. */

/* Bytes of `key` that identify the flow: the tunnel counts only where there is one. */
unsigned int flow_key_size(const struct flow_key *key);
