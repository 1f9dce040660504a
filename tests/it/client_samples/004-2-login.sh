curl -X POST http://localhost:4001/auth/login \
-H "Content-Type: application/json" \
-d '{
"email": "[email protected]",
"password": "SecurePass123!",
"deviceId": "mobile-app-ios-001"
}'
