DROP TABLE changes_awaiting;
DROP TABLE messages;
