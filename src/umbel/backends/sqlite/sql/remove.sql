-- Delete a held message. ?1 id, ?2 token. Changes one row, unless the token is stale
DELETE FROM messages WHERE id = ?1 AND token = ?2
