-- Be told of what others do: payloads are m and a queue, r and ids of records (none: any), s, e and an echo's word.
LISTEN umbel
